"""What the measurement leaves behind: the table, printed and as Markdown, and all of it as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.console import say, table
from aligndiff.core.files import write_json, write_text
from scripts.reporting import Target, markdown_table
from scripts.tiny_world.measure.lines import Line, show, show_spread
from scripts.tiny_world.measure.runs import Effort
from scripts.tiny_world.measure.samples import LookFigures, MaskFigures, PlainFigures

if TYPE_CHECKING:
    from scripts.tiny_world.measure.gain import GainPoint

COLUMNS = ("line", "what", "value", "spread", "target", "holds", "n")


@dataclass
class Findings:
    """What was measured, filled line by line; what was not asked for stays empty."""

    lines: list[Line] = field(default_factory=list)
    categories: list[PlainFigures] = field(default_factory=list)  # lines 1 and 3, of each category
    looks: list[LookFigures] = field(default_factory=list)  # line 2, of each object and word
    masks: list[MaskFigures] = field(default_factory=list)  # line 4, of each object
    gain: list[GainPoint] = field(default_factory=list)  # line 5
    gain_erasing: list[GainPoint] = field(default_factory=list)  # the same with random erasing
    swept_looks: list[LookFigures] = field(default_factory=list)  # line 6, of each bg_lambda
    swept_masks: list[MaskFigures] = field(default_factory=list)


@dataclass(frozen=True)
class Circumstances:
    """Where, when and with what the figures came to be."""

    command: str
    quick: bool  # a run to try the flow: its figures mean nothing
    continued: bool  # files of an earlier run were there: the seconds are not those of all the work
    date: str
    commit: str | None  # with "-dirty" when files had changed since
    machine: str
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    effort: Effort
    seconds: Mapping[str, float]

    @property
    def minutes(self) -> float:
        return sum(self.seconds.values()) / 60


def rows(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """The cells of the table, all text."""
    return [
        (
            line.number,
            line.what,
            show(line.value, line.unit),
            show_spread(line.spread, line.unit),
            "" if line.target is None else _show_target(line.target, line),
            {None: "", True: "yes", False: "NO"}[line.holds],
            str(line.n),
        )
        for line in lines
    ]


def _show_target(target: Target, line: Line) -> str:
    # A bound has fewer decimals than a measured value.
    words = re.sub(r"\.?0+(?=\D*$)", "", show(target.bound, line.unit))
    return f"{target.kind} {words}"


def closing(lines: Sequence[Line], circumstances: Circumstances) -> str:
    """One sentence: how many targets hold, and how long it took."""
    aims = [line for line in lines if line.target is not None]
    took = f"{circumstances.minutes:.1f} minutes"
    if circumstances.continued:
        took += " in this run, which continued an earlier one"
    if circumstances.quick:
        return f"quick run: its figures mean nothing, and no target is judged; {took}"
    return f"{sum(bool(line.holds) for line in aims)} of {len(aims)} targets hold; {took}"


def print_table(lines: Sequence[Line], circumstances: Circumstances) -> None:
    table("the measurement", COLUMNS, rows(lines))
    say(closing(lines, circumstances))


def markdown(lines: Sequence[Line], circumstances: Circumstances) -> str:
    """The table and where it is from, for docs/TINY_WORLD.md."""
    about = [
        f"`{circumstances.command}`",
        circumstances.date,
        circumstances.machine,
        ", ".join(f"{name} {number}" for name, number in circumstances.versions.items()),
    ]
    if circumstances.commit:
        about.append(f"commit {circumstances.commit}")
    body = markdown_table(COLUMNS, rows(lines))
    took = ", ".join(f"{name} {value:.0f} s" for name, value in circumstances.seconds.items())
    return "\n".join(
        ["; ".join(about), "", body, "", f"{closing(lines, circumstances)} ({took}).", ""]
    )


def write_report(folder: Path, findings: Findings, circumstances: Circumstances) -> None:
    """``measure.json`` and ``measure.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = asdict(findings)
    for told, line in zip(found["lines"], findings.lines, strict=True):
        told["holds"] = line.holds
    write_json(folder / "measure.json", {**asdict(circumstances), **found})
    write_text(folder / "measure.md", markdown(findings.lines, circumstances))

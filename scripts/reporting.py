"""What the programs that measure and drill share: their lines, tables and circumstances."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from aligndiff.core.console import say, table
from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json, write_text

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "diffusers", "transformers", "numpy")
# How the scripts tell an error, a sample that failed, and a bug.
_ERROR = re.compile(r"error: |failed: |[\w.]*(Error|Exception)\b")
# What a progress bar leaves in a log: "generating: 40% in 01:00, 4/10, ...".
_BAR = re.compile(r"[\w ()]+: \d+% in [\d:]+, \d+/\d+, ")


@dataclass(frozen=True)
class Target:
    """A bound that a figure should reach, or should not go beyond."""

    bound: float
    kind: Literal["at least", "at most"] = "at least"

    def holds(self, value: float | None) -> bool:
        """What could not be measured does not hold."""
        if value is None:
            return False
        return value >= self.bound if self.kind == "at least" else value <= self.bound


@dataclass(frozen=True)
class Line:
    """One line of a table: what was measured or tried, and what came out.

    A figure without a target is told for its own sake.
    """

    group: str  # the part, number or scenario that it belongs to
    what: str
    value: float | None  # None: nothing to measure
    unit: str
    n: int  # measurements, images, seeds or tries
    target: Target | None = None
    spread: tuple[float, float] | None = None  # the quartiles, or the least and the greatest
    floor: float | None = None  # what nothing can go below, by docs/PERFORMANCE.md
    outcome: str = ""  # of what was tried, in words
    passed: bool | None = None  # whether that was right; None for figures, and what was not tried
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool | None:
        """Whether the target is met, or what was tried passed; None where nothing is judged."""
        return self.passed if self.target is None else self.target.holds(self.value)


Columns = Mapping[str, Callable[[Line], str]]  # the words of a cell, by the column's name


def verdict(line: Line, unknown: str = "") -> str:
    """The cell that must catch the eye where something is wrong."""
    return {None: unknown, True: "yes", False: "NO"}[line.holds]


def cells(columns: Columns, line: Line) -> tuple[str, ...]:
    """The line in words, one for each of the columns."""
    return tuple(words(line) for words in columns.values())


def closing(lines: Sequence[Line], minutes: float, judged_as: str = "targets hold") -> str:
    """One sentence: how many targets hold, and how long it took."""
    verdicts = [line.holds for line in lines if line.holds is not None]
    return f"{sum(verdicts)} of {len(verdicts)} {judged_as}; {minutes:.1f} minutes"


@dataclass(frozen=True)
class Circumstances:
    """Where, when and with what the lines came to be; `details` are for the JSON file alone."""

    command: str
    date: str
    commit: str | None  # with "-dirty" when files had changed since
    machine: str
    versions: Mapping[str, str]
    threads: int | None = None  # of torch on the CPU
    device: str = ""  # the name of a GPU, or "CPU"
    precision: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """The machine line."""
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}" if self.threads else ""
        parts = [
            f"`{self.command}`",
            self.date,
            ", ".join(filter(None, (self.machine, threads))),
            f"device {self.device}, {self.precision}" if self.device else "",
            ", ".join(f"{name} {number}" for name, number in self.versions.items()),
            f"commit {self.commit}" if self.commit else "",
        ]
        return "; ".join(filter(None, parts))


def circumstances(command: str, **known: Any) -> Circumstances:
    """Those of this run, with what else is known of it."""
    return Circumstances(command, today(), commit(), machine_name(), versions(), **known)


@dataclass(frozen=True)
class Report:
    """The table of a program: printed, and in a folder as NAME.md and NAME.json."""

    title: str
    name: str
    columns: Columns
    where: Circumstances
    closing: Callable[[Sequence[Line], float], str] = closing  # its last sentence, with minutes

    def show(self, lines: Sequence[Line], minutes: float) -> None:
        table(self.title, tuple(self.columns), [cells(self.columns, line) for line in lines])
        say(str(self.where))
        say(self.closing(lines, minutes))

    def markdown(self, lines: Sequence[Line], minutes: float) -> str:
        """The machine line, the table and the last sentence, for a page of docs."""
        body = markdown_table(tuple(self.columns), [cells(self.columns, line) for line in lines])
        return "\n".join([str(self.where), "", body, "", f"{self.closing(lines, minutes)}.", ""])

    def write(self, folder: Path, lines: Sequence[Line], minutes: float, **more: Any) -> None:
        """`more` goes into the JSON file, beside the lines and the circumstances."""
        where = asdict(self.where)
        details = where.pop("details")
        told = {**where, **details, "minutes": round(minutes, 2), **more}
        told["lines"] = [{**asdict(line), "holds": line.holds} for line in lines]
        write_json(folder / f"{self.name}.json", told)
        write_text(folder / f"{self.name}.md", self.markdown(lines, minutes))


def make_work_folder(output_dir: Path, work_dir: Path) -> None:
    """Raise InputError now when nothing can be written there, not after minutes of measuring."""
    probe = work_dir / "probe"
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"--output_dir {output_dir}: {error.strerror}; choose another folder"
        ) from error


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in (columns, ("---",) * len(columns), *rows)
    )


def without_bars(stderr: str) -> list[str]:
    """The lines of a command's stderr but those of its progress bars."""
    return [line for line in stderr.splitlines() if not _BAR.match(line)]


def last_words(log: Path) -> str:
    """What the last command of a log said at its end: its last error, else its last line."""
    said = re.split(r"^\$ .*\n", log.read_text(encoding="utf-8"), flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or ["it said nothing"])[-1]


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def machine_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Such as "2 cores of AMD EPYC, Linux"."""
    names = []
    if cpuinfo.is_file():
        names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
    name = names[0].strip() if names else platform.processor() or platform.machine()
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return f"{cores} core{'s' if cores > 1 else ''} of {name}, {platform.system()}"


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Of the repository, if it is one and git is there."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None

"""What a benchmark leaves behind: its table, printed, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from aligndiff.core.console import say, table
from aligndiff.core.device import choose_dtype
from aligndiff.core.files import write_json, write_text
from scripts.benchmark.lines import COLUMNS, Line, cells
from scripts.reporting import commit, machine_name, markdown_table, today, versions


@dataclass(frozen=True)
class Circumstances:
    """Where, when and with what the figures came to be."""

    command: str
    date: str
    commit: str | None  # with "-dirty" when files had changed since
    machine: str
    device: str  # the name of a GPU, or "CPU"
    threads: int  # of torch on the CPU
    precision: str  # of the networks of steps 1 and 2
    versions: Mapping[str, str]

    def __str__(self) -> str:
        """The machine line."""
        parts = [
            f"`{self.command}`",
            self.date,
            f"{self.machine}, {self.threads} thread{'s' if self.threads > 1 else ''}",
            f"device {self.device}, {self.precision}",
            ", ".join(f"{name} {number}" for name, number in self.versions.items()),
        ]
        return "; ".join([*parts, f"commit {self.commit}"] if self.commit else parts)


def circumstances(command: str, device: torch.device) -> Circumstances:
    """Those of this run."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return Circumstances(
        command=command,
        date=today(),
        commit=commit(),
        machine=machine_name(),
        device=name,
        threads=torch.get_num_threads(),
        precision=str(choose_dtype("auto", device)).removeprefix("torch."),
        versions=versions(),
    )


def closing(lines: Sequence[Line], minutes: float) -> str:
    """One sentence: how many targets hold, and how long it took."""
    judged = [line for line in lines if line.holds is not None]
    held = sum(bool(line.holds) for line in judged)
    return f"{held} of {len(judged)} targets hold; {minutes:.1f} minutes"


def markdown(lines: Sequence[Line], where: Circumstances, minutes: float) -> str:
    """The table and where it is from, for docs/PERFORMANCE.md."""
    body = markdown_table(COLUMNS, [cells(line) for line in lines])
    return "\n".join([str(where), "", body, "", f"{closing(lines, minutes)}.", ""])


def write_report(folder: Path, lines: Sequence[Line], where: Circumstances, minutes: float) -> None:
    """``benchmark.md`` and ``benchmark.json``."""
    found = [{**asdict(line), "holds": line.holds} for line in lines]
    told = {**asdict(where), "minutes": round(minutes, 2), "lines": found}
    write_json(folder / "benchmark.json", told)
    write_text(folder / "benchmark.md", markdown(lines, where, minutes))


def print_report(lines: Sequence[Line], where: Circumstances, minutes: float) -> None:
    table("the benchmark", COLUMNS, [cells(line) for line in lines])
    say(str(where))
    say(closing(lines, minutes))

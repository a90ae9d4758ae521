"""What the programs that measure share: targets, tables, and where, when and with what it was."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from aligndiff.core.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "diffusers", "transformers", "numpy")
# How the scripts tell an error, a sample that failed, and a bug.
_ERROR = re.compile(r"error: |failed: |[\w.]*(Error|Exception)\b")


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

"""What a drill leaves behind: its table, printed, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from aligndiff.core.console import say, table
from aligndiff.core.files import write_json, write_text
from scripts.drill.lines import COLUMNS, Line, cells
from scripts.reporting import commit, machine_name, markdown_table, today, versions


def circumstances(command: str) -> str:
    """The machine line."""
    numbers = ", ".join(f"{name} {number}" for name, number in versions().items())
    parts = [f"`{command}`", today(), machine_name(), "device CPU, float32", numbers]
    return "; ".join([*parts, f"commit {found}"] if (found := commit()) else parts)


def closing(lines: Sequence[Line], minutes: float) -> str:
    """One sentence: how many passed, and how long it took."""
    passed = sum(bool(line.passed) for line in lines)
    judged = sum(line.passed is not None for line in lines)
    left_out = f", {len(lines) - judged} could not be tried" if judged < len(lines) else ""
    return f"{passed} of {judged} passed{left_out}; {minutes:.1f} minutes"


def write_report(folder: Path, lines: Sequence[Line], where: str, minutes: float) -> None:
    """``drill.md`` and ``drill.json``."""
    found = [asdict(line) for line in lines]
    write_json(
        folder / "drill.json", {"where": where, "minutes": round(minutes, 2), "lines": found}
    )
    body = markdown_table(COLUMNS, [cells(line) for line in lines])
    write_text(
        folder / "drill.md", "\n".join([where, "", body, "", f"{closing(lines, minutes)}.", ""])
    )


def print_report(lines: Sequence[Line], where: str, minutes: float) -> None:
    table("the drill", COLUMNS, [cells(line) for line in lines])
    say(where)
    say(closing(lines, minutes))

"""The columns of the benchmark's table: a figure, its floor, what it should be, whether it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from scripts.benchmark.config import Part
from scripts.benchmark.timing import spread
from scripts.reporting import Columns, Line, Target, verdict

Unit = Literal[
    "x", "IoU", "s", "ms", "MB", "KB", "%", "images/s", "views/s", "scenes/s", "hours", "GB"
]

DECIMALS = {"x": 3, "IoU": 4}  # others get three digits
DIGITS = 3


def at_most(bound: float) -> Target:
    return Target(bound, "at most")


def at_least(bound: float) -> Target:
    return Target(bound, "at least")


def line(
    part: Part,
    what: str,
    values: Sequence[float],
    unit: Unit,
    floor: float | None = None,
    target: Target | None = None,
) -> Line:
    """The line of all `values` that were measured of one thing: their median and quartiles."""
    found = spread(values)
    quartiles = (found.low, found.high) if found.n > 1 else None
    return Line(part, what, found.median, unit, found.n, target, quartiles, floor)


def show(value: float, unit: str) -> str:
    """The number with the digits that its unit deserves."""
    if unit in DECIMALS:
        return f"{value:.{DECIMALS[unit]}f}"
    before = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{max(0, DIGITS - before)}f}"


COLUMNS: Columns = {
    "part": lambda line: line.group,
    "what": lambda line: line.what,
    "value": lambda line: f"{show(line.value or 0.0, line.unit)} {line.unit}",
    "quartiles": lambda line: " to ".join(show(end, line.unit) for end in line.spread or ()),
    "floor": lambda line: "" if line.floor is None else f"{line.floor:g}",
    "target": lambda line: f"{line.target.kind} {line.target.bound:g}" if line.target else "",
    "holds": verdict,
    "n": lambda line: str(line.n),
}

"""The lines of the benchmark's table: a figure, its floor, what it should be, whether it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scripts.benchmark.config import Part
from scripts.benchmark.timing import spread
from scripts.reporting import Target

Unit = Literal["x", "IoU", "s", "ms", "MB", "KB", "%", "images/s", "views/s"]

COLUMNS = ("part", "what", "value", "quartiles", "floor", "target", "holds", "n")
DECIMALS: dict[Unit, int] = {"x": 3, "IoU": 4}  # others get three digits
DIGITS = 3


def at_most(bound: float) -> Target:
    return Target(bound, "at most")


def at_least(bound: float) -> Target:
    return Target(bound, "at least")


@dataclass(frozen=True)
class Line:
    """One line of the table: a median, and the quartiles where it was measured several times."""

    part: Part
    what: str
    value: float
    unit: Unit
    n: int
    quartiles: tuple[float, float] | None = None
    floor: float | None = None  # what nothing can go below, by docs/PERFORMANCE.md
    target: Target | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the median meets the target; None without one."""
        return None if self.target is None else self.target.holds(self.value)


def line(
    part: Part,
    what: str,
    values: Sequence[float],
    unit: Unit,
    floor: float | None = None,
    target: Target | None = None,
) -> Line:
    """The line of all `values` that were measured of one thing."""
    found = spread(values)
    quartiles = (found.low, found.high) if found.n > 1 else None
    return Line(part, what, found.median, unit, found.n, quartiles, floor, target)


def cells(line: Line) -> tuple[str, ...]:
    """The line in words, one for each of COLUMNS."""
    quartiles, target = line.quartiles, line.target
    return (
        line.part,
        line.what,
        f"{show(line.value, line.unit)} {line.unit}",
        "" if quartiles is None else " to ".join(show(end, line.unit) for end in quartiles),
        "" if line.floor is None else f"{line.floor:g}",
        "" if target is None else f"{target.kind} {target.bound:g}",
        {None: "", True: "yes", False: "NO"}[line.holds],
        str(line.n),
    )


def show(value: float, unit: Unit) -> str:
    """The number with the digits that its unit deserves."""
    if unit in DECIMALS:
        return f"{value:.{DECIMALS[unit]}f}"
    before = math.floor(math.log10(abs(value))) + 1 if value else 1
    return f"{value:.{max(0, DIGITS - before)}f}"

"""What growth tells: the price of one more of something, and whether that price stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """What `size` of something took."""

    size: int
    seconds: float
    memory: int  # bytes at the peak, beside what was in use before


def price_of_time(smaller: Point, larger: Point) -> float:
    """Seconds of one more, between two sizes."""
    return (larger.seconds - smaller.seconds) / (larger.size - smaller.size)


def price_of_memory(smaller: Point, larger: Point) -> float:
    """Bytes that one more holds, between two sizes."""
    return (larger.memory - smaller.memory) / (larger.size - smaller.size)


def bend(points: Sequence[Point]) -> float:
    """The price of time between the two largest sizes over that between the two before.

    1 is linear, 10 is quadratic in sizes that grow tenfold. `points` are three or more, ascending.
    """
    before, middle, last = points[-3:]
    return price_of_time(middle, last) / price_of_time(before, middle)

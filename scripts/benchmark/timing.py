"""Stopwatches: alternating rounds, ratios of one round, medians and quartiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Clock = Callable[[], float]


def clock(device: torch.device) -> Clock:
    """Seconds since some moment; asking waits until the device has done all it was told to."""
    if device.type == "cpu":
        return time.perf_counter

    def now() -> float:
        getattr(torch, device.type).synchronize()
        return time.perf_counter()

    return now


def alternate(
    sides: Mapping[str, Callable[[], object]], repeats: int, now: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each side in each of `repeats` rounds.

    One round without a clock comes first. A round runs every side once, and every other round runs
    them backwards, so that a machine that grows slower or faster favours none of them.
    """
    for call in sides.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            started = now()
            sides[name]()
            seconds[name].append(now() - started)
    return seconds


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """`above` over `below`, round by round: both of a round met the machine in one mood."""
    return [a / b for a, b in zip(above, below, strict=True)]


@dataclass(frozen=True)
class Spread:
    """The quartiles of `n` numbers."""

    low: float
    median: float
    high: float
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Quartiles, linear between neighbours. `values` must not be empty."""
    low, median, high = (float(value) for value in np.percentile(values, (25, 50, 75)))
    return Spread(low, median, high, len(values))

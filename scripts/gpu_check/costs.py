"""The parts of scripts.benchmark whose figures a card decides, with their own targets."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from scripts.benchmark.__main__ import MEASURES
from scripts.benchmark.config import PARTS, BenchmarkConfig, Part
from scripts.gpu_check.attempts import Attempt, Place
from scripts.gpu_check.config import Check
from scripts.reporting import Line

CHECK: Check = "benchmark"
# Drawing is measured at full width by the check "networks"; scripts, start-up and growth are the
# CPU's affair.
CHOSEN: tuple[Part, ...] = ("b", "d", "c")


def attempts(place: Place) -> Iterator[Attempt]:
    small = place.config.small
    config = BenchmarkConfig(
        quick=small,
        device=place.config.device,
        repeats=1 if small else 5,
        output_dir=place.config.output_dir,
    )
    for part in ("b",) if small else CHOSEN:
        yield Attempt(PARTS[part], partial(_measured, part, config, place), 30)


def _measured(part: Part, config: BenchmarkConfig, place: Place) -> Iterator[Line]:
    module = importlib.import_module(f"scripts.benchmark.{MEASURES[part]}")
    for line in module.measure(config, place.device):
        judged = None if place.config.small else line.target
        yield replace(line, group=CHECK, what=f"{part}: {line.what}", target=judged)

"""Ctrl-C and SIGTERM: a run ends within seconds, says how to continue, and can be continued."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from scripts.drill.datasets import DrillDatasets, await_that, await_work
from scripts.drill.lines import line
from scripts.drill.processes import Command, run_when_free
from scripts.drill.snapshots import broken_files
from scripts.reporting import Line, Target

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
IN_TIME = Target(10.0, "at most")  # seconds from the signal to the end
WITH_A_MODEL = (1, 2, 3)  # steps that load one, which takes seconds
_MOST_TRIES = 4  # of a run that ended before the signal
_HOW_TO_CONTINUE = "stopped; run the same command again to continue"


@dataclass(frozen=True)
class Stop:
    """A signal to the parent alone or, as a Ctrl-C at the terminal does it, to its whole group."""

    number: signal.Signals
    workers: int
    to_group: bool
    at_work: bool = True  # else while it still loads its libraries

    def __str__(self) -> str:
        to = "the group" if self.to_group else "the parent"
        whom = "one process" if self.workers == 1 else f"{to} of {self.workers} workers"
        return f"{self.number.name} to {whom}{'' if self.at_work else ' at its start'}"


STOPS = (
    Stop(signal.SIGINT, 1, True),
    Stop(signal.SIGTERM, 1, False),
    Stop(signal.SIGINT, 1, True, at_work=False),
    Stop(signal.SIGTERM, 1, False, at_work=False),
    Stop(signal.SIGINT, 2, True),
    Stop(signal.SIGINT, 2, False),
    Stop(signal.SIGTERM, 2, True),
    Stop(signal.SIGTERM, 2, False),
)


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    for step in datasets.config.steps:
        for stop in STOPS:
            if step not in WITH_A_MODEL and not stop.at_work:
                continue  # its start is Python's own, too short to be hit
            started = time.monotonic()
            seconds, problems = _stop(datasets, step, stop)
            fine = f"ended in {seconds:.1f} s with {CODES[stop.number]}; then the same bytes"
            yield line("signals", f"step {step}: {stop}", 1, fine, problems, started)


def _stop(datasets: DrillDatasets, step: int, stop: Stop) -> tuple[float, list[str]]:
    """The seconds from the signal to the end, and what was wrong."""
    more = [] if stop.workers == 1 else ["--workers", str(stop.workers)]
    early = datasets.length(step, stop.workers).first / 2
    for _ in range(_MOST_TRIES):
        dataset = datasets.fresh(step)
        command, watch = datasets.begin(step, dataset, *more)
        with command:
            if stop.at_work:
                in_time = await_work(command, watch)
            else:
                in_time = await_that(command, partial(_is_older, command, early))
            sent = time.monotonic()
            if in_time and stop.to_group:
                command.signal_group(stop.number)
            elif in_time:
                os.kill(command.process.pid, stop.number)
            ended = command.wait()
            seconds = time.monotonic() - sent
        if in_time:
            break
        early /= 2  # the length was measured while the machine was busier
    problems = ended.problems(CODES[stop.number])
    if ended.said.count(_HOW_TO_CONTINUE) != 1:
        problems.append(f"does not say once how to continue: {ended.said[-300:]!r}")
    if not IN_TIME.holds(seconds):
        problems.append(f"took {seconds:.1f} s to end, at most {IN_TIME.bound:g}")
    problems += broken_files(dataset)
    ended, _ = run_when_free(datasets.words(step, dataset, *more))
    return seconds, problems + ended.problems() + datasets.compare(step, dataset)


def _is_older(command: Command, seconds: float) -> bool:
    return command.is_running and command.age >= seconds

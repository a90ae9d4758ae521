"""Two runs at once on one dataset: one does the work, the other says so and ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from aligndiff.runner.lock import LOCK_FILE
from scripts.drill.datasets import DrillDatasets, await_that, await_work, one_error
from scripts.drill.lines import line
from scripts.drill.processes import Command, Ended, run, run_when_free
from scripts.reporting import Line

_REFUSED = "another run works in this dataset folder"


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    for step in datasets.config.steps:
        started = time.monotonic()
        fine = "the second: one line, exit code 2; the first: the same bytes"
        yield line(
            "rivals", f"step {step}: a second run", 1, fine, _second(datasets, step), started
        )
        started = time.monotonic()
        fine = "one of them: one line, exit code 2; the other: the same bytes"
        problems = _at_once(datasets, step)
        yield line("rivals", f"step {step}: two at the same moment", 1, fine, problems, started)
        started = time.monotonic()
        times, problems = _after_orphans(datasets, step)
        fine = f"refused {times} times, in one line; then the same bytes"
        what = f"step {step}: a run while the workers of a killed one still end"
        yield line("rivals", what, 1, fine, problems, started)


def _second(datasets: DrillDatasets, step: int) -> list[str]:
    dataset = datasets.fresh(step)
    words = datasets.words(step, dataset)
    with Command(words) as first:
        await_that(first, (dataset / LOCK_FILE).exists)
        problems = one_error(run(words), 2, _REFUSED)
        problems += first.wait().problems()
    return problems + datasets.compare(step, dataset)


def _at_once(datasets: DrillDatasets, step: int) -> list[str]:
    dataset = datasets.fresh(step)
    words = datasets.words(step, dataset)
    with Command(words) as one, Command(words) as other:
        ends = sorted((one.wait(), other.wait()), key=lambda ended: ended.code)
    problems = ends[0].problems() + one_error(ends[1], 2, _REFUSED)
    return problems + datasets.compare(step, dataset)


def _after_orphans(datasets: DrillDatasets, step: int) -> tuple[int, list[str]]:
    """How often the next run was refused, and what was wrong."""
    dataset = datasets.fresh(step)
    command, watch = datasets.begin(step, dataset, "--workers", "2")
    with command:
        await_work(command, watch)
        os.kill(command.process.pid, signal.SIGKILL)
        command.wait()
    words = datasets.words(step, dataset, "--workers", "2")
    ended: Ended = run(words)
    times, problems = 0, list[str]()
    if ended.was_refused:
        problems = one_error(ended, 2, _REFUSED)
        ended, times = run_when_free(words)
        times += 1
    return times, problems + ended.problems() + datasets.compare(step, dataset)

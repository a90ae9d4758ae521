"""A disk that may not be written to, and a dataset folder that is moved away during a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from scripts.drill.datasets import DrillDatasets, await_work, one_error
from scripts.drill.disks import CannotMountError, mount, small_disk
from scripts.drill.lines import line, skipped
from scripts.drill.processes import run
from scripts.drill.snapshots import broken_files, differences, tree
from scripts.reporting import Line


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    for step in datasets.config.steps:
        started, what = time.monotonic(), f"step {step}: the disk is mounted for reading only"
        try:
            with small_disk(datasets.config.work_dir / "disk") as disk:
                problems = _read_only(datasets, step, disk)
            fine = "one line, exit code 2, nothing written; mounted for writing the same bytes"
            yield line("gone_disk", what, 1, fine, problems, started)
        except CannotMountError as error:
            yield skipped("gone_disk", what, error.problems[0])
    for step in datasets.config.steps:
        for workers in (1, 2):
            started = time.monotonic()
            problems = _moved_away(datasets, step, workers)
            processes = "1 process" if workers == 1 else f"{workers} workers"
            what = f"step {step}, {processes}: the dataset folder is moved away"
            fine = "exit code 1, nothing made in its place; brought back the same bytes"
            yield line("gone_disk", what, 1, fine, problems, started)


def _read_only(datasets: DrillDatasets, step: int, disk: Path) -> list[str]:
    dataset = datasets.copy(datasets.made(step - 1), below=disk)
    before, words = tree(dataset), datasets.words(step, dataset)
    mount("-o", "remount,ro", str(disk))
    problems = one_error(run(words), 2, "reading only")
    problems += differences(before, tree(dataset))
    mount("-o", "remount,rw", str(disk))
    problems += run(words).problems()
    return problems + datasets.compare(step, dataset)


def _moved_away(datasets: DrillDatasets, step: int, workers: int) -> list[str]:
    dataset = datasets.fresh(step)
    away = dataset.with_name(f"{dataset.name}_away")
    more = ["--workers", str(workers)]
    command, watch = datasets.begin(step, dataset, *more)
    with command:
        await_work(command, watch)
        dataset.rename(away)
        ended = command.wait()
    if workers == 1:
        problems = one_error(ended, 1, "was here and is gone")
    else:  # each worker has a line of its own, and one that tells whose it is
        problems = ended.problems(1)
    if dataset.exists():
        return [*problems, f"made in its old place: {sorted(tree(dataset))[:3]}"]
    away.rename(dataset)
    problems += broken_files(dataset)
    problems += run(datasets.words(step, dataset, *more)).problems()
    return problems + datasets.compare(step, dataset)

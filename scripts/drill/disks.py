"""A disk that is full in the middle of a step: a small file system in memory, filled up."""

from __future__ import annotations

import errno
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aligndiff.core.errors import AlignDiffError
from scripts.drill.datasets import DrillDatasets, one_error
from scripts.drill.lines import line, skipped
from scripts.drill.processes import run
from scripts.drill.snapshots import broken_files
from scripts.reporting import Line

_BLOCK = 4096  # bytes; a tmpfs gives out whole pages
# Blocks that are left free: enough for the lock and a part of the results.
_LEFT = {1: 3, 2: 7, 3: 7, 4: 12}


class CannotMountError(AlignDiffError):
    """No file system can be mounted here."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """While open, `folder` is a real file system of 8 MiB. Raises CannotMountError."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder))
    except OSError as error:
        raise CannotMountError(f"no file system can be mounted here ({error})") from error
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(*words: str) -> None:
    """Raises OSError with what `mount` said when it does not do it."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr else "mount failed")


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    for step in datasets.config.steps:
        for workers in (1, 2):
            what = f"step {step}, {workers} process{'es' if workers > 1 else ''}: the disk is full"
            started = time.monotonic()
            try:
                with small_disk(datasets.config.work_dir / "disk") as disk:
                    problems = _fill_up(datasets, step, workers, disk)
            except CannotMountError as error:
                yield skipped("full_disk", what, error.problems[0])
                continue
            lines = "one line" if workers == 1 else "a line for each worker"
            fine = f"{lines}, exit code 1; with space again the same bytes"
            yield line("full_disk", what, 1, fine, problems, started)


def _fill_up(datasets: DrillDatasets, step: int, workers: int, disk: Path) -> list[str]:
    dataset = datasets.copy(datasets.made(step - 1), below=disk)
    ballast = disk / "ballast"
    _write_all_but(ballast, _LEFT[step] * _BLOCK)
    words = datasets.words(step, dataset, "--workers", str(workers))
    ended = run(words)
    if workers == 1:
        problems = one_error(ended, 1, "No space left on device", "run the same command again")
    else:  # each worker has a line of its own, and one that tells whose it is
        problems = ended.problems(1)
    problems += broken_files(dataset)
    ballast.unlink()
    problems += run(words).problems()
    return problems + datasets.compare(step, dataset)


def _write_all_but(ballast: Path, left: int) -> None:
    """Take all space of a file system but `left` bytes."""
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb", buffering=0) as file:
        try:
            for _ in range(0, free - left, _BLOCK):
                file.write(bytes(_BLOCK))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

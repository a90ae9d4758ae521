"""Which part of the work is this process's: its rank among the processes of a launch."""

from __future__ import annotations

import heapq
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aligndiff.core.errors import InputError

T = TypeVar("T")

RANK = "ALIGNDIFF_RANK"
WORLD_SIZE = "ALIGNDIFF_WORLD_SIZE"
PARENT = "ALIGNDIFF_PARENT"  # process id of what started a worker of ours
PROGRESS_FILE = "ALIGNDIFF_PROGRESS"  # where a worker tells how far it is
UNITS = "ALIGNDIFF_UNITS"  # a file with the numbers of the units that a worker is to do, as JSON


@dataclass(frozen=True)
class Share:
    """The part of process `rank` out of `world_size`; the parts are disjoint and complete."""

    rank: int
    world_size: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} is not in 0..{self.world_size - 1}")

    @property
    def is_main(self) -> bool:
        """Whether this process does what must be done once."""
        return self.rank == 0

    def of(self, items: Sequence[T], weights: Sequence[int] | None = None) -> list[T]:
        """The items of this process, in their order; `weights` say how much work each one is.

        The heaviest are dealt out first, each to the process that has least: the parts differ by
        no more than one item. Without weights that is every `world_size`-th item from `rank` on.
        """
        weights = [1] * len(items) if weights is None else weights
        load = [(0, rank) for rank in range(self.world_size)]
        mine = []
        for place in sorted(range(len(items)), key=lambda place: -weights[place]):
            least, rank = heapq.heappop(load)
            heapq.heappush(load, (least + weights[place], rank))
            if rank == self.rank:
                mine.append(place)
        return [items[place] for place in sorted(mine)]


def launched_share() -> Share | None:
    """This process's share as its launcher says, or None when nothing launched it.

    Looks at our own variables, then at torchrun's, then at srun's. InputError when the variables
    contradict each other.
    """
    for rank, world_size in ((RANK, WORLD_SIZE), ("RANK", "WORLD_SIZE")):
        if rank in os.environ and world_size in os.environ:
            return _share(rank, world_size)
        if rank == RANK and (rank in os.environ or world_size in os.environ):
            raise InputError(f"{RANK} and {WORLD_SIZE} go together; set both or neither")
    if _inside_srun(os.environ):
        share = _share("SLURM_PROCID", _srun_tasks(os.environ))
        return share if share.world_size > 1 else None
    return None


def is_worker() -> bool:
    """Whether a run of ours started this process: then its parent does the talking."""
    return RANK in os.environ


def is_first() -> bool:
    """Whether this process speaks and acts for the whole run: the first of its launch, or alone."""
    share = launched_share()
    return not is_worker() and (share is None or share.is_main)


def _inside_srun(env: Mapping[str, str]) -> bool:
    """Whether srun started this process as one of several tasks.

    A batch script of a job with several tasks has the variables of rank 0 too, but runs once and
    must do all the work: only srun sets the step.
    """
    if "SLURM_PROCID" not in env or _srun_tasks(env) not in env:
        return False
    return "SLURM_JOB_ID" not in env or "SLURM_STEP_ID" in env


def _srun_tasks(env: Mapping[str, str]) -> str:
    """The name of the variable with the number of tasks: the step's, where it is not the job's."""
    return "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in env else "SLURM_NTASKS"


def _share(rank: str, world_size: str) -> Share:
    values = os.environ[rank], os.environ[world_size]
    try:
        return Share(int(values[0]), int(values[1]))
    except ValueError:
        said = f"{rank}={values[0]} with {world_size}={values[1]}"
        problem = f"{said}: the rank must be a whole number from 0 to the world size less 1"
        raise InputError(f"{problem}; correct or unset these variables") from None


def note_progress(count: int) -> None:
    """Tell the parent that `count` more items are done; nothing happens without one.

    A file grows by one byte an item: its size is the count, however the worker ends.
    """
    if path := os.environ.get(PROGRESS_FILE):
        with open(path, "ab", buffering=0) as file:
            file.write(b"." * count)

"""Which part of the work is this process's: its rank among the processes of a launch."""

from __future__ import annotations

import heapq
import json
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from aligndiff.core.errors import InputError

T = TypeVar("T")

RANK = "ALIGNDIFF_RANK"
WORLD_SIZE = "ALIGNDIFF_WORLD_SIZE"
PARENT = "ALIGNDIFF_PARENT"  # process id of what started a worker of ours
PROGRESS_FILE = "ALIGNDIFF_PROGRESS"  # where a worker tells how far it is
ASSIGNMENT = "ALIGNDIFF_ASSIGNMENT"  # a JSON file with what a worker is to do
_TORCHRUN = "RANK", "WORLD_SIZE"
_KNOCK = 5.0  # seconds to wait for an answer


@dataclass(frozen=True)
class Share:
    """The place of a process among those of a launch: `rank` out of `world_size`."""

    rank: int
    world_size: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} is not in 0..{self.world_size - 1}")

    @property
    def is_main(self) -> bool:
        """Whether this process does what must be done once."""
        return self.rank == 0


def shard(
    units: Sequence[T], rank: int, world_size: int, weights: Sequence[int] | None = None
) -> list[T]:
    """The units of process `rank`, in their order; `weights` say how much work each one is.

    The shards of all ranks are disjoint and complete. The heaviest units are dealt out first, each
    to the process that has least: the loads differ by no more than one unit. Without weights that
    is every `world_size`-th unit from `rank` on.
    """
    weights = [1] * len(units) if weights is None else weights
    load = [(0, owner) for owner in range(world_size)]
    mine = []
    for place in sorted(range(len(units)), key=lambda place: -weights[place]):
        least, owner = heapq.heappop(load)
        heapq.heappush(load, (least + weights[place], owner))
        if owner == rank:
            mine.append(place)
    return [units[place] for place in sorted(mine)]


def launched_share() -> Share | None:
    """This process's share as its launcher says, or None when nothing launched it.

    Looks at our own variables, then at torchrun's, then at srun's. Variables outlive launchers, in
    a shell or in a container's image: they count only while the launcher is seen behind them.
    InputError when they contradict each other.
    """
    if RANK in os.environ or WORLD_SIZE in os.environ:
        if RANK not in os.environ or WORLD_SIZE not in os.environ:
            raise InputError(f"{RANK} and {WORLD_SIZE} go together; set both or neither")
        return _share(RANK, WORLD_SIZE)
    share = _share(*_TORCHRUN)
    if share is not None and _torchrun_lives(os.environ):
        return share
    share = _srun_share()
    return share if share is not None and _descends_from(os.environ.get("SLURM_TASK_PID")) else None


def check_launcher() -> None:
    """InputError when variables speak of several processes and no launcher stands behind them.

    The others would be waited for, and never come.
    """
    if launched_share() is not None:
        return
    srun = "SLURM_PROCID", _srun_tasks(os.environ)
    for launcher, names, share in (
        ("torchrun", _TORCHRUN, _share(*_TORCHRUN)),
        ("srun", srun, _srun_share()),
    ):
        if share is not None and share.world_size > 1:
            variables = " and ".join(f"{name}={os.environ[name]}" for name in names)
            raise InputError(
                f"{variables} are set, but no {launcher} stands behind this process: 'unset "
                f"{' '.join(names)}' to do all of the work here, or start the command with "
                f"{launcher}"
            )


def is_worker() -> bool:
    """Whether a run of ours started this process: then its parent does the talking."""
    return RANK in os.environ


def is_first() -> bool:
    """Whether this process speaks and acts for the whole run: the first of its launch, or alone."""
    share = launched_share()
    return not is_worker() and (share is None or share.is_main)


def _srun_share() -> Share | None:
    """The share that srun's variables name, of several tasks.

    A batch script of a job with several tasks has the variables of rank 0 too, but runs once and
    must do all the work: only srun sets the step.
    """
    if "SLURM_JOB_ID" in os.environ and "SLURM_STEP_ID" not in os.environ:
        return None
    share = _share("SLURM_PROCID", _srun_tasks(os.environ))
    return share if share is not None and share.world_size > 1 else None


def _srun_tasks(env: Mapping[str, str]) -> str:
    """The name of the variable with the number of tasks: the step's, where it is not the job's."""
    return "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in env else "SLURM_NTASKS"


def _share(rank: str, world_size: str) -> Share | None:
    """The share that two variables name; None where one of them is missing."""
    if rank not in os.environ or world_size not in os.environ:
        return None
    values = os.environ[rank], os.environ[world_size]
    try:
        return Share(int(values[0]), int(values[1]))
    except ValueError:
        variables = f"{rank}={values[0]} with {world_size}={values[1]}"
        problem = f"{variables}: the rank must be a whole number from 0 to the world size less 1"
        raise InputError(f"{problem}; correct or unset these variables") from None


def _torchrun_lives(env: Mapping[str, str]) -> bool:
    """Whether torchrun runs: its agent keeps a store at MASTER_ADDR:MASTER_PORT to its end."""
    if "TORCHELASTIC_RUN_ID" not in env:
        return False
    if env.get("TORCHELASTIC_USE_AGENT_STORE") == "False":  # no store that could be asked
        return True
    return answers(env.get("MASTER_ADDR", ""), env.get("MASTER_PORT", ""))


@cache
def answers(host: str, port: str) -> bool:
    """Whether something listens there; asked once."""
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _descends_from(ancestor: str | None) -> bool:
    """Whether process `ancestor` (a number) is this one, or one above it, as Linux tells."""
    process = str(os.getpid())
    with suppress(OSError):  # no such files, as on other systems
        while process != ancestor and process != "0":
            # After the name in brackets, which may hold anything: state, parent.
            process = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
    return process == ancestor != "0"


def note_progress(count: int = 1, category: str = "", *, status: str = "") -> None:
    """Tell the parent that `count` more items of a class are done; nothing happens without one.

    A line of a file that only grows: what was told stays, however the worker ends.
    """
    if path := os.environ.get(PROGRESS_FILE):
        with open(path, "ab", buffering=0) as file:
            file.write(json.dumps([count, category, status]).encode() + b"\n")

"""Who does the work: this process, one process per device, or the actors of a Ray cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from aligndiff.core.device import visible_gpus
from aligndiff.core.errors import InputError
from aligndiff.core.ranks import Share, launched_share, shard
from aligndiff.runner import ray as ray_actors
from aligndiff.runner.local import end_with_parent, read_assignment, run_workers
from aligndiff.runner.options import RunOptions
from aligndiff.runner.ray import RayExecutor, has_gpus, ray_cluster

if TYPE_CHECKING:
    pass


class Work(ray_actors.Work, Protocol):
    """The work of a command, cut into units that any process can do, in any order."""

    def weight(self, unit: Any) -> int:
        """How many items of the progress bar it is, done or not: all processes say the same."""

    def category(self, unit: Any) -> str:
        """The class that the progress bar counts it for."""

    def make_room(self) -> None:
        """Before other processes begin: find what would stop them, do what --overwrite asks for.

        They are started without --overwrite, and only fill the gaps.
        """


def my_units(work: Work) -> list[Any]:
    """The units of this process among those of its launch; all of them when it stands alone."""
    numbers = read_assignment().units
    if numbers is not None:
        return [work.units[number] for number in numbers]
    share = launched_share() or Share(0, 1)
    weights = [work.weight(unit) for unit in work.units]
    return shard(work.units, share.rank, share.world_size, weights)


def carry_out(
    work: Work,
    missing: Sequence[Any],
    module: str,
    argv: Sequence[str],
    run: RunOptions,
    description: str,
) -> int:
    """Do the `missing` units of `work`; returns the exit code that the run ends with.

    A process that something launched does its share. Any other one starts a process for each
    device where there are several, or hands the work to Ray with `--launcher ray`.
    """
    end_with_parent()
    if not missing:
        return 0
    words = [word for word in argv if word != "--overwrite"]
    words += ["--precision", run.precision]  # what "auto" came to here counts everywhere
    asked = set(map(id, missing))
    numbers = [number for number, unit in enumerate(work.units) if id(unit) in asked]
    weights = [work.weight(work.units[number]) for number in numbers]
    if launched_share() is None and run.launcher == "ray":
        gpu = run.device in ("auto", "cuda")
        units = list(zip(numbers, weights, strict=True))
        with ray_cluster(run.ray_address) as ray:
            if gpu and has_gpus(ray) and not visible_gpus() and not _says_precision(argv):
                raise InputError(
                    "--launcher ray: the cluster has GPUs and this machine has none: add "
                    "--precision bfloat16, or what else they are to compute in"
                )
            work.make_room()
            executor = RayExecutor(
                ray, (module, tuple(words)), run.workers, gpu, run.retries, run.overwrite
            )
            categories = {number: work.category(work.units[number]) for number in numbers}
            return executor.run(units, description, categories)
    devices = [] if launched_share() is not None else _worker_devices(run)[: len(missing)]
    if len(devices) < 2:
        work.do(missing)
        return 0
    work.make_room()
    shards = [shard(numbers, rank, len(devices), weights) for rank in range(len(devices))]
    totals = totals_by_class(work, missing)
    return run_workers(
        module, words, devices, shards, run.retries, totals, description, run.overwrite
    )


def totals_by_class(work: Work, units: Iterable[Any]) -> Counter[str]:
    """How many items of the progress bar the units are, by class."""
    totals = Counter[str]()
    for unit in units:
        totals[work.category(unit)] += work.weight(unit)
    return totals


def check_device(run: RunOptions) -> None:
    """Raise InputError for a device or a precision that this machine has not.

    With Ray other machines do the work, of which nobody knows here.
    """
    from aligndiff.core.device import choose_device, choose_dtype

    if run.launcher != "ray":
        choose_dtype(run.precision, choose_device(run.device))


def _says_precision(argv: Sequence[str]) -> bool:
    words = [part for word in argv for part in word.split("=", 1)]
    return any(
        name == "--precision" and value != "auto"
        for name, value in zip(words, words[1:], strict=False)
    )


def _worker_devices(run: RunOptions) -> list[str | None]:
    """One device per worker, GPUs shared in turn; None where a worker sees what we see."""
    gpus = visible_gpus() if run.device in ("auto", "cuda") else []
    count = run.workers or len(gpus)
    return [gpus[rank % len(gpus)] if gpus else None for rank in range(count)]

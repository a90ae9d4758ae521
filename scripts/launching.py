"""Who does the work: this process, one process per device, or the actors of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from aligndiff.ground.launch import run_workers, visible_gpus
from aligndiff.ground.ray_actors import Office, ray_cluster
from aligndiff.ground.share import Share, is_worker, launched_share
from aligndiff.ground.worker import end_with_parent, told_units
from aligndiff.models.weights import Chosen
from scripts.options import RunOptions

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


class Work(Protocol):
    """The work of a command, cut into units that any process can do, in any order.

    The units and their numbers follow from the command line and the dataset folder alone.
    """

    @property
    def units(self) -> Sequence[Any]: ...

    def weight(self, unit: Any) -> int:
        """How many items of the progress bar it is, done or not: all processes say the same."""

    def make_room(self) -> None:
        """Before other processes begin: find what would stop them, clear what --overwrite clears.

        They are started without --overwrite, and only fill the gaps.
        """

    def do(self, units: Sequence[Any]) -> None:
        """Load what is needed, once, and do these units."""


def my_units(work: Work) -> list[Any]:
    """The units of this process among those of its launch; all of them when it stands alone."""
    told = told_units()
    if told is not None:
        return [work.units[number] for number in told]
    share = launched_share() or Share(0, 1)
    return share.of(work.units, [work.weight(unit) for unit in work.units])


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
            work.make_room()
            office = Office(ray, (module, tuple(words)), run.workers, gpu, run.retries)
            return office.run(units, description)
    devices = [] if launched_share() is not None else _worker_devices(run)[: len(missing)]
    if len(devices) < 2:
        work.do(missing)
        return 0
    work.make_room()
    shares = [Share(rank, len(devices)).of(numbers, weights) for rank in range(len(devices))]
    return run_workers(module, words, devices, shares, run.retries, sum(weights), description)


def load_diffusion_model(
    chosen: Chosen, run: RunOptions, device_name: str = ""
) -> StableDiffusionPipeline:
    """The model in the run's precision, on the run's device unless another one is named."""
    from aligndiff.models.device import choose_device, choose_dtype
    from aligndiff.models.diffusion import load_pipeline

    device = choose_device(run.device)
    return load_pipeline(chosen, device_name or device, choose_dtype(run.precision, device))


def is_reporter() -> bool:
    """Whether this process writes the contact sheet: the first one of its launch, no worker."""
    share = launched_share()
    return not is_worker() and (share is None or share.is_main)


def process_title(what: str) -> str:
    """The title of a process's table: "images", or "images of process 1 of 4"."""
    share = launched_share()
    return what if share is None else f"{what} of process {share.rank} of {share.world_size}"


def _worker_devices(run: RunOptions) -> list[str | None]:
    """One device per worker, GPUs shared in turn; None where a worker sees what we see."""
    gpus = visible_gpus() if run.device in ("auto", "cuda") else []
    count = run.workers or len(gpus)
    return [gpus[rank % len(gpus)] if gpus else None for rank in range(count)]

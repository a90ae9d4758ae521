"""The driver that every step of the method runs under.

    command line + dataset.json -> Step.plan -> Work, cut into units
    units of this process -> what is missing -> this process, workers, or Ray -> report

A step says what is its own; what is common is here: one run at a time in a dataset folder, what is
missing, who does the work, and how processes of one launch end together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from aligndiff.core.console import note, quiet_libraries, say, warn
from aligndiff.core.device import (
    describe_device,
    known_precision,
    unusable_gpus,
    visible_gpus,
)
from aligndiff.core.errors import InputError
from aligndiff.core.exits import overwriting
from aligndiff.core.files import check_writable, remove_leftovers
from aligndiff.core.options import CommandLine, parse
from aligndiff.core.ranks import Share, is_worker, launched_share, shard
from aligndiff.dataset.layout import check_still_there
from aligndiff.dataset.prompt_bank import PromptBank, TokenCounter, load_prompt_bank
from aligndiff.runner.group import only_run_in
from aligndiff.runner.local import end_with_parent, read_assignment, run_workers
from aligndiff.runner.options import RunOptions
from aligndiff.runner.ray import RayExecutor, has_gpus, ray_cluster

COMMAND = "aligndiff"  # python -m COMMAND NAME ... is how a worker is started


class Work(Protocol):
    """The work of a command line, cut into units that any process can do, in any order.

    The order of `units` follows from the command line and the dataset folder alone. A unit is known
    by its place among them, its number.
    """

    @property
    def units(self) -> Sequence[Any]: ...

    @property
    def outputs(self) -> Sequence[Path]:
        """One file of each folder that is written into."""

    @property
    def weights_line(self) -> str:
        """Which weights it uses, and where that choice came from."""

    def weight(self, unit: Any) -> int:
        """How many items of the progress bar it is, done or not: all processes say the same."""

    def category(self, unit: Any) -> str:
        """The class that the progress bar counts it for."""

    def survey(self, numbers: Sequence[int], reported: Sequence[int]) -> tuple[list[int], Any]:
        """Which of the units `numbers` are to be done, and a message, ready for JSON.

        The messages of all processes reach the one that reports. `reported` are the units that this
        process reports on.
        """

    def make_room(self) -> None:
        """Before other processes begin: find what would stop them, do what --overwrite asks for.

        They are started without --overwrite, and only fill the gaps.
        """

    def do(self, units: Sequence[Any]) -> None:
        """Load what is needed, once, and do these units."""

    def finish(self, numbers: Sequence[int]) -> int:
        """What follows when this process's units are done; returns an exit code."""

    def report(self, title: str, numbers: Sequence[int], messages: Sequence[Any]) -> int:
        """Print what became of the units `numbers`; returns 1 when something is missing, else 0.

        `messages` are those of `survey`, this process's own in front.
        """


@dataclass(frozen=True)
class Step:
    """What a step adds to the driver.

    Attributes:
        name: of its script, and of the sub-command of `aligndiff`.
        module: where the step lies, for the processes of a cluster.
        description, epilog: what --help says.
        options: its config dataclasses by their heading in --help.
        activity: what the progress bar says it does.
        product: the title of its table.
        plan: the work that a command line asks for, checked against the disk; loads no model.
        token_counter: how the tokens of a prompt are counted; None where no prompt is read.
        run_options: where to run; a step that needs no GPU has fewer to choose from.
        nothing_to_do: why there is nothing to do at all in a prompt bank; None when there is.
    """

    name: str
    module: str
    description: str
    epilog: str
    options: Mapping[str, type]
    activity: str
    product: str
    plan: Callable[[CommandLine, RunOptions, PromptBank], Work]
    token_counter: Callable[[CommandLine], TokenCounter] | None = None
    run_options: type[RunOptions] = RunOptions
    nothing_to_do: Callable[[PromptBank], str | None] = lambda bank: None


def run_step(step: Step, argv: Sequence[str], prog: str | None = None) -> int:
    """Parse, validate, do what is missing, report; returns the exit code.

    `prog` is what --help calls the command; None: `python -m scripts.<name>`.
    """
    line, run, bank = _read(step, argv, prog)
    if reason := step.nothing_to_do(bank):
        say(reason)
        return 0
    overwrite = run.overwrite or read_assignment().overwrites
    with (
        overwriting(overwrite),
        _gone_is_no_bad_input(bank.root),
        only_run_in(bank.root, step.name) as group,
    ):
        work = step.plan(line, run, bank)
        check_writable(work.outputs)
        remove_leftovers(work.outputs)
        say(work.weights_line)
        note(bank.notes)
        mine = _my_units(work)
        reported = range(len(work.units)) if group.reports_all else mine
        missing, message = work.survey(mine, reported)
        code = _carry_out(step, work, missing, line, run)
        check_still_there(bank.root)  # whatever those who did the work made of its absence
        code = max(code, work.finish(mine))
        with group.finish(message) as messages:
            return max(code, work.report(group.title(step.product), reported, messages))


def open_work(step: Step, argv: Sequence[str]) -> Work:
    """What the command line asks for, for one process among others that do it."""
    return step.plan(*_read(step, argv))


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


def _read(
    step: Step, argv: Sequence[str], prog: str | None = None
) -> tuple[CommandLine, RunOptions, PromptBank]:
    """The command line and the prompt bank, checked; each is read once."""
    options = {"run": step.run_options, **step.options}
    prog = prog or f"python -m scripts.{step.name}"
    line = parse(prog, step.description, step.epilog, options, argv)
    run = line.config(step.run_options)
    quiet_libraries()
    counter = step.token_counter and step.token_counter(line)
    # The parent of a worker has read it.
    was_there = read_assignment().units is not None
    with _gone_is_no_bad_input(run.dataset_dir) if was_there else nullcontext():
        bank = load_prompt_bank(run.dataset_dir, run.categories, counter)
    precision: Any = known_precision(run.precision, run.device)
    return line, replace(run, precision=precision), bank


@contextmanager
def _gone_is_no_bad_input(root: Path) -> Iterator[None]:
    """A dataset folder that goes is a fault of the machine, whichever of its files is missed."""
    try:
        yield
    except InputError:
        check_still_there(root)
        raise


def _my_units(work: Work) -> list[int]:
    """The units of this process among those of its launch; all of them when it stands alone."""
    assigned = read_assignment().units
    if assigned is not None:
        return assigned
    share = launched_share() or Share(0, 1)
    weights = [work.weight(unit) for unit in work.units]
    return shard(range(len(work.units)), share.rank, share.world_size, weights)


def _carry_out(
    step: Step, work: Work, missing: Sequence[int], line: CommandLine, run: RunOptions
) -> int:
    """Do the `missing` units; returns the exit code that the run ends with.

    A process that something launched does its share. Any other one starts a process for each
    device where there are several, or hands the work to Ray with `--launcher ray`.
    """
    end_with_parent()
    if not missing:
        return 0
    units = [work.units[number] for number in missing]
    argv = [word for word in line.argv if word != "--overwrite"]
    argv += ["--precision", run.precision]  # what "auto" came to here counts everywhere
    if launched_share() is None and run.launcher == "ray":
        return _on_ray(step, work, missing, line, run, argv)
    share = launched_share()
    devices = [] if share is not None else _worker_devices(run)[: len(missing)]
    _describe(run, len(devices) if share is None else share.world_size)
    if len(devices) < 2:
        work.do(units)
        return 0
    work.make_room()
    weights = [work.weight(unit) for unit in units]
    shards = [shard(missing, rank, len(devices), weights) for rank in range(len(devices))]
    totals = totals_by_class(work, units)
    return run_workers(
        COMMAND,
        [step.name, *argv],
        devices,
        shards,
        run.retries,
        totals,
        step.activity,
        run.overwrite,
    )


def _describe(run: RunOptions, processes: int) -> None:
    """Say where the work is done, and why GPUs that were named are not used."""
    if is_worker():
        return
    say(describe_device(run.device, run.precision, processes))
    if run.device == "auto" and (reason := unusable_gpus()):
        warn(f"note: {reason}")


def _on_ray(
    step: Step,
    work: Work,
    missing: Sequence[int],
    line: CommandLine,
    run: RunOptions,
    argv: Sequence[str],
) -> int:
    """Hand the units to the actors of a Ray cluster."""
    use_gpus = run.device in ("auto", "cuda")
    with ray_cluster(run.ray_address) as ray:
        named = line.typed("precision") and line.values.precision != "auto"
        if use_gpus and has_gpus(ray) and not visible_gpus() and not named:
            raise InputError(
                "--launcher ray: the cluster has GPUs and this machine has none: add "
                "--precision bfloat16, or what else they are to compute in"
            )
        work.make_room()
        command = step.module, tuple(argv)
        executor = RayExecutor(ray, command, run.workers, use_gpus, run.retries, run.overwrite)
        units = [(number, work.weight(work.units[number])) for number in missing]
        categories = {number: work.category(work.units[number]) for number in missing}
        return executor.run(units, step.activity, categories)


def _worker_devices(run: RunOptions) -> list[str | None]:
    """One device per worker, GPUs shared in turn; None where a worker sees what we see."""
    gpus = visible_gpus() if run.device in ("auto", "cuda") else []
    count = run.workers or len(gpus)
    return [gpus[rank % len(gpus)] if gpus else None for rank in range(count)]

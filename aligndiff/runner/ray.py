"""Work done by the actors of a Ray cluster: an actor for each GPU, replaced when it is lost.

Ray is an optional package, imported when it is asked for. Actors write files, as workers do; what
comes back is that a unit is done, and what was written to stderr. All nodes see the same files
under the same names, and have this code and its packages.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aligndiff.core import console
from aligndiff.core.errors import (
    BUG,
    WITHOUT_OVERWRITE,
    InputError,
    as_problem,
    worst_code,
)
from aligndiff.core.ranks import RANK, WORLD_SIZE, answers

_POLL = 1.0  # seconds between two looks at the cluster
_PATIENCE = 30.0  # seconds without any actor, after which a line says what it waits for
_GPU = "GPU"  # Ray's name of the resource
_REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Any]:
    """While open, this process is connected to a Ray cluster; yields the `ray` module.

    `address` is host:port; without one RAY_ADDRESS counts, else the cluster of this machine. Raises
    InputError when Ray is not installed, or there is no cluster.
    """
    if find_spec("ray") is None:
        raise InputError('--launcher ray needs Ray: pip install "ray>=2.60,<3", on every node')
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        _check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    heeds_sigterm = signal.getsignal(signal.SIGTERM)
    paths = [str(_REPOSITORY), os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        ray.init(
            address=address or "auto",
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise _no_cluster(address or "on this machine") from error
    signal.signal(signal.SIGTERM, heeds_sigterm)  # Ray puts its own in the place of ours
    try:
        yield ray
    finally:
        ray.shutdown()  # takes the actors along


def _check_address(address: str) -> None:
    """Knock first: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not answers(host, port):
        raise _no_cluster(address)


def _no_cluster(where: str) -> InputError:
    return InputError(
        f"--launcher ray: no Ray cluster found ({where}); start one with 'ray start --head', or "
        "name it with --ray_address HOST:PORT"
    )


def has_gpus(ray: Any) -> bool:
    """Whether the cluster has GPUs now."""
    return int(ray.cluster_resources().get(_GPU, 0)) > 0


class _Actor:
    """A process on a node of the cluster that does units of work; `open` comes first."""

    def open(self, module: str, argv: Sequence[str], folder: str, place: tuple[int, int]) -> None:
        """Read and check everything, as a worker process does. Paths are relative to `folder`."""
        os.chdir(folder)
        os.environ[RANK], os.environ[WORLD_SIZE] = map(str, place)
        self.work = import_module(module).open_work(argv)  # a `runner.step.Work`

    def do(self, number: int) -> str:
        """Do a unit; returns what was written to stderr meanwhile. An error has it as a note."""
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            try:
                self.work.do([self.work.units[number]])
            except Exception as error:
                error.add_note(stderr.getvalue())
                raise
        return stderr.getvalue()


def _pass_on(stderr: str) -> None:
    for line in stderr.splitlines():
        console.warn(line)


class RayExecutor:
    """Does units of work on the actors of a Ray cluster, and starts new actors for lost ones.

    An actor calls `open_work(argv)` of the command's module once, and does one unit after another:
    what it loaded and learned of its memory stays. There are `actors` of them, or as many as the
    cluster has GPUs (CPUs where it has none, or with `use_gpus` off); more when nodes join. A unit
    whose actor is lost goes to another one, up to `retries` times more; an actor that raises does
    no more units. `overwrites` says whether the run was started with --overwrite.

    Not Ray's tasks, which share out processes: a process that has loaded a model on a GPU is lent
    another GPU for its next task, and two processes then compute on one GPU while another is idle.
    """

    def __init__(
        self,
        ray: Any,
        command: tuple[str, tuple[str, ...]],
        actors: int = 0,
        use_gpus: bool = True,
        retries: int = 0,
        overwrites: bool = False,
    ) -> None:
        self.ray, self.command, self.retries = ray, command, retries
        self.actors, self.use_gpus, self.overwrites = actors, use_gpus, overwrites
        self.queue: deque[int] = deque()
        self.starting: dict[Any, Any] = {}  # reference of `open`: actor
        self.working: dict[Any, tuple[Any, int]] = {}  # reference of `do`: actor and unit
        self.losses: Counter[int] = Counter()  # of actors, by the unit they had
        self.started = 0
        self.raised = 0  # actors that raised; they are not replaced
        self.lost_at_start = 0  # actors in a row that died before they had a unit
        self.given_up = 0  # units
        self.codes: set[int] = set()  # exit codes that the actors which raised would have had

    def run(
        self,
        units: Sequence[tuple[int, int]],
        description: str = "",
        categories: Mapping[int, str] | None = None,
    ) -> int:
        """Let actors do `units`, (number, weight) each; returns the exit code of the run.

        `categories` are the units' classes, by number, for the progress bar.

        It is 0 when all of them are done; else 2 when bad input was met, 70 a bug, or 1.
        """
        self.weights = dict(units)
        self.queue.extend(self.weights)
        self.categories = categories or {}
        totals = Counter[str]()
        for number, weight in units:
            totals[self.categories.get(number, "")] += weight
        with console.progress(description, totals) as advance:
            self._do_all(advance)
        return worst_code(self.codes) if self.given_up or self.queue else 0

    def _do_all(self, advance: console.Advance) -> None:
        idle_since = time.monotonic()
        while self.queue or self.working:
            self._start_actors()
            if not self.starting and not self.working:
                break  # all actors raised, or died at their start
            pending = [*self.starting, *self.working]
            ready, _ = self.ray.wait(pending, num_returns=1, timeout=_POLL)
            for reference in ready:
                if reference in self.starting:
                    self._started(reference)
                else:
                    self._done(reference, advance)
            if self.working:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _PATIENCE:
                console.warn("note: waiting for the Ray cluster: no free GPU or CPU for an actor")
                idle_since = float("inf")

    def _start_actors(self) -> None:
        """As many as there is room for, and units to do."""
        resources = self.ray.cluster_resources()
        gpus = int(resources.get(_GPU, 0)) if self.use_gpus else 0
        most = self.actors or gpus or int(resources.get("CPU", 1))
        busy = len(self.starting) + len(self.working)
        room = min(most - self.raised - busy, len(self.queue) - len(self.starting))
        kind = self.ray.remote(_Actor)
        for _ in range(room):
            actor = kind.options(num_cpus=0 if gpus else 1, num_gpus=1 if gpus else 0).remote()
            place = (self.started % max(2, most), max(2, most))
            self.starting[actor.open.remote(*self.command, os.getcwd(), place)] = actor
            self.started += 1

    def _started(self, reference: Any) -> None:
        actor = self.starting.pop(reference)
        try:
            self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            self._report_raised(error)
        except self.ray.exceptions.RayError as error:
            _report_lost(error)
            self.lost_at_start += 1
            # Where actors cannot start, none takes their place for ever.
            self.raised += self.lost_at_start > self.retries
        else:
            self.lost_at_start = 0
            self._assign(actor)

    def _assign(self, actor: Any) -> None:
        """The next unit to an actor that is free; without one it ends."""
        if self.queue:
            unit = self.queue.popleft()
            self.working[actor.do.remote(unit)] = actor, unit
        else:
            self.ray.kill(actor)

    def _done(self, reference: Any, advance: console.Advance) -> None:
        actor, unit = self.working.pop(reference)
        try:
            _pass_on(self.ray.get(reference))
        except self.ray.exceptions.RayTaskError as error:
            self._report_raised(error)
            self._retry(unit)
        except self.ray.exceptions.RayError as error:
            _report_lost(error)
            self._retry(unit)
        else:
            advance(self.weights[unit], self.categories.get(unit, ""))
            self._assign(actor)

    def _retry(self, unit: int) -> None:
        self.losses[unit] += 1
        if self.losses[unit] <= self.retries:
            self.queue.append(unit)
        else:
            self.given_up += 1
            times = "once" if self.retries == 0 else f"{self.retries + 1} times"
            console.warn(f"error: a part of the work lost its actor {times}, and is given up")

    def _report_raised(self, error: Any) -> None:
        self.raised += 1
        cause = error.cause
        for note in getattr(cause, "__notes__", ()):
            _pass_on(note)
        if self.overwrites:
            cause.add_note(WITHOUT_OVERWRITE)
        problem = as_problem(cause)
        self.codes.add(BUG if problem is None else problem.exit_code)
        console.warn(f"error: an actor ended: {problem or error}")


def _report_lost(error: Exception) -> None:
    reason = str(error).strip().splitlines()[0]
    console.warn(f"note: an actor was lost: {reason}")

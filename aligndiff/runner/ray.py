"""Work handed out to the actors of a Ray cluster: an actor for each GPU, replaced when it is lost.

Ray is an optional package, imported when it is asked for. Actors write files, as workers do; what
comes back is how much they did and what they had to say. All nodes see the same files under the
same names, and have this code and its packages.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from aligndiff.core import console
from aligndiff.core.errors import (
    BUG,
    OVERWRITES,
    InputError,
    as_problem,
    overwrites,
    worst_code,
)
from aligndiff.core.ranks import RANK, WORLD_SIZE, answers

_POLL = 1.0  # seconds between two looks at the cluster
_PATIENCE = 30.0  # seconds without any actor, after which a line says what is waited for
_GPU = "GPU"  # Ray's name of the resource
_REPOSITORY = Path(__file__).resolve().parents[2]


class Work(Protocol):
    """What `module.open_work(argv)` gives: the units of a command line's work, and how one is done.

    Their order follows from the command line and the dataset folder alone.
    """

    @property
    def units(self) -> Sequence[Any]: ...

    def do(self, units: Sequence[Any]) -> None:
        """Load what is needed, once, and do these units."""


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
    if overwrites():
        variables[OVERWRITES] = "1"
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
    """Runs on a node of the cluster; `begin` comes first."""

    def begin(self, module: str, argv: Sequence[str], folder: str, place: tuple[int, int]) -> str:
        """Read and check everything, as a worker process does; returns the node's name."""
        os.chdir(folder)
        sys.argv = [module, *argv]
        os.environ[RANK], os.environ[WORLD_SIZE] = map(str, place)
        self.work: Work = import_module(module).open_work(argv)
        return os.uname().nodename

    def do(self, number: int) -> str:
        """Do a unit; returns what was said on stderr meanwhile. An error carries it as a note."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                self.work.do([self.work.units[number]])
            except Exception as error:
                error.add_note(said.getvalue())
                raise
        return said.getvalue()


def _pass_on(said: str) -> None:
    for line in said.splitlines():
        console.warn(line)


class Office:
    """Hands out units of work to actors, and keeps the desks filled.

    An actor calls `open_work(argv)` of the command's module once, and does units of the work that
    it gets. There are `actors` of them, or as many as the cluster has GPUs (CPUs where it has none,
    or none are wanted); more when nodes join. A unit whose actor is lost goes to another one, up to
    `retries` times more; an actor that raises gets nothing more to do.
    """

    def __init__(
        self,
        ray: Any,
        command: tuple[str, tuple[str, ...]],
        actors: int = 0,
        wants_gpu: bool = True,
        retries: int = 0,
    ) -> None:
        self.ray, self.command, self.retries = ray, command, retries
        self.wanted, self.wants_gpu = actors, wants_gpu
        self.queue: deque[int] = deque()
        self.starting: dict[Any, Any] = {}  # reference of `begin`: actor
        self.working: dict[Any, tuple[Any, int]] = {}  # reference of `do`: actor and unit
        self.losses: Counter[int] = Counter()  # of actors, by the unit they had
        self.hired = 0
        self.dropped = 0  # actors that raised; they are not replaced
        self.lost_at_start = 0  # actors in a row that died before they had a unit
        self.undone = 0  # units that nobody gets any more
        self.codes: set[int] = set()  # exit codes that the actors which raised would have had

    def run(self, units: Sequence[tuple[int, int]], description: str = "") -> int:
        """Let actors do `units`, (number, weight) each; returns the exit code of the run.

        It is 0 when all of them are done; else 2 when bad input was met, 70 a bug, or 1.
        """
        self.weights = dict(units)
        self.queue.extend(self.weights)
        with console.progress(description, sum(self.weights.values())) as advance:
            self._work_off(advance)
        return worst_code(self.codes) if self.undone or self.queue else 0

    def _work_off(self, advance: console.Advance) -> None:
        idle_since = time.monotonic()
        while self.queue or self.working:
            self._hire()
            if not self.starting and not self.working:
                break  # all actors were dropped
            waited = [*self.starting, *self.working]
            ready, _ = self.ray.wait(waited, num_returns=1, timeout=_POLL)
            for reference in ready:
                if reference in self.starting:
                    self._settle(reference)
                else:
                    self._take(reference, advance)
            if self.working:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _PATIENCE:
                console.warn("note: waiting for the Ray cluster: no free GPU or CPU for an actor")
                idle_since = float("inf")

    def _hire(self) -> None:
        """As many actors as there is room for, and units to do."""
        resources = self.ray.cluster_resources()
        gpus = int(resources.get(_GPU, 0)) if self.wants_gpu else 0
        wanted = self.wanted or gpus or int(resources.get("CPU", 1))
        busy = len(self.starting) + len(self.working)
        room = min(wanted - self.dropped - busy, len(self.queue) - len(self.starting))
        kind = self.ray.remote(_Actor)
        for _ in range(room):
            actor = kind.options(num_cpus=0 if gpus else 1, num_gpus=1 if gpus else 0).remote()
            place = (self.hired % max(2, wanted), max(2, wanted))
            self.starting[actor.begin.remote(*self.command, os.getcwd(), place)] = actor
            self.hired += 1

    def _settle(self, reference: Any) -> None:
        actor = self.starting.pop(reference)
        dropped = self.dropped
        if self._result(reference) is not None:
            self.lost_at_start = 0
            self._give(actor)
        elif self.dropped == dropped:  # it died, and did not raise
            self.lost_at_start += 1
            # Where actors cannot begin, no one takes their place for ever.
            self.dropped += self.lost_at_start > self.retries

    def _give(self, actor: Any) -> None:
        """The next unit to an actor that is free; without one it goes home."""
        if self.queue:
            unit = self.queue.popleft()
            self.working[actor.do.remote(unit)] = actor, unit
        else:
            self.ray.kill(actor)

    def _take(self, reference: Any, advance: console.Advance) -> None:
        actor, unit = self.working.pop(reference)
        said = self._result(reference)
        if said is None:
            self._put_back(unit)
            return
        _pass_on(said)
        advance(self.weights[unit])
        self._give(actor)

    def _put_back(self, unit: int) -> None:
        self.losses[unit] += 1
        if self.losses[unit] <= self.retries:
            self.queue.append(unit)
        else:
            self.undone += 1
            times = "once" if self.retries == 0 else f"{self.retries + 1} times"
            console.warn(f"error: a part of the work lost its actor {times}, and is given up")

    def _result(self, reference: Any) -> str | None:
        """What an actor returns; None after its end, which is told."""
        try:
            said: str = self.ray.get(reference)
            return said
        except self.ray.exceptions.RayTaskError as error:
            self.dropped += 1
            cause = error.cause
            for note in getattr(cause, "__notes__", ()):
                _pass_on(note)
            problem = as_problem(cause)
            self.codes.add(BUG if problem is None else problem.exit_code)
            console.warn(f"error: an actor ended: {problem or error}")
        except self.ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            console.warn(f"note: an actor was lost: {first}")
        return None

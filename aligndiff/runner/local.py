"""One process per device: start them, watch them, say which died; the others live on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from aligndiff.core import console
from aligndiff.core.device import available_cores
from aligndiff.core.errors import AlignDiffError, InputError, worst_code
from aligndiff.core.ranks import ASSIGNMENT, PARENT, PROGRESS_FILE, RANK, WORLD_SIZE, Share

_POLL = 0.5  # seconds between two looks at the workers
_GRACE = 10.0  # seconds a worker gets to end by itself after SIGTERM
_CODE = Path(__file__).resolve().parents[2]  # where a worker finds this package
_MOST_SAID = 2**20  # bytes of a worker's stderr that are passed on at once


def run_workers(
    module: str,
    argv: Sequence[str],
    devices: Sequence[str | None],
    units: Sequence[Sequence[int]],
    retries: int = 0,
    totals: Mapping[str, int] | None = None,
    description: str = "",
    overwrites: bool = False,
) -> int:
    """Run `python -m module argv` once per device; returns the exit code that the run ends with.

    A device is an entry for CUDA_VISIBLE_DEVICES, or None to leave that variable alone (CPU).
    `units` are the numbers of the units of work that each worker does; it finds them and
    `overwrites`, whether the run was started with --overwrite, by `read_assignment`. What workers
    write on stderr is passed on with their number. One that dies is named, with its last words, and
    started again up to `retries` times; the others live on. The bar of the parent moves by what the
    workers tell (`note_progress`), out of `totals` by class. Whatever exception comes through here,
    Ctrl-C and SIGTERM among them, stops the workers first.

    The code is 0 when all workers ended well, 2 when one found bad input, 70 when one met a bug,
    else 1.
    """
    with tempfile.TemporaryDirectory(prefix="aligndiff-") as folder:
        workers: list[_Worker] = []
        try:
            for rank, (device, numbers) in enumerate(zip(devices, units, strict=True)):
                where = Path(folder, f"worker_{rank}")
                assignment = Assignment(list(numbers), overwrites)
                where.with_suffix(".json").write_text(json.dumps(asdict(assignment)))
                command = [sys.executable, "-m", module, *argv]
                workers.append(_Worker(command, Share(rank, len(devices)), device, where, retries))
            return _watch(workers, totals or {}, description)
        finally:
            # Nothing is left to stop unless an exception came through here.
            _stop(workers)
            for worker in workers:
                worker.stderr.close()


class _Worker:
    """One process of a launch, and the next one when it dies and may be started again."""

    def __init__(
        self, command: list[str], share: Share, device: str | None, where: Path, retries: int
    ) -> None:
        self.command, self.retries, self.rank = command, retries, share.rank
        self.name = f"worker {share.rank} of {share.world_size}"
        self.name += "" if device is None else f" on device {device}"
        self.progress_file = where.with_suffix(".progress")
        self.stderr = where.with_suffix(".txt").open("w+b")
        self.heard = 0  # bytes of it that were passed on
        self.progress_read = 0  # bytes of the progress file
        self.last_words = ""
        self.env = os.environ | {
            RANK: str(share.rank),
            WORLD_SIZE: str(share.world_size),
            PARENT: str(os.getpid()),
            PROGRESS_FILE: str(self.progress_file),
            ASSIGNMENT: str(where.with_suffix(".json")),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_CODE), os.environ.get("PYTHONPATH")))),
        }
        if device is None:
            # Each worker would start as many threads as there are cores, and they would fight.
            self.env.setdefault(
                "OMP_NUM_THREADS", str(max(1, available_cores() // share.world_size))
            )
        else:
            self.env["CUDA_VISIBLE_DEVICES"] = device
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        # What is inheritable is meant to be inherited: the lock of the dataset folder.
        return subprocess.Popen(
            self.command,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stderr=self.stderr,
            close_fds=False,
        )

    def news(self) -> list[tuple[int, str, str]]:
        """What the worker has told of its progress since the last time."""
        steps, self.progress_read = read_progress(self.progress_file, self.progress_read)
        return steps

    def is_over(self) -> bool:
        """Whether the worker has ended for good; says how one ended that did not end well."""
        code = self.process.poll()
        self._pass_on(to_the_end=code is not None)
        if code is None:
            return False
        if code == 0:
            return True
        died = code not in (AlignDiffError.exit_code, InputError.exit_code)  # would come again
        again = died and self.retries > 0
        last = f": {self.last_words}" if self.last_words else ""
        what_follows = "; started again" if again else ""
        console.warn(f"error: {self.name} {_ending(code)}{last}{what_follows}")
        if again:
            self.last_words = ""
            self.retries -= 1
            self.process = self._start()
        return not again

    def _pass_on(self, to_the_end: bool) -> None:
        """Say what the worker wrote on stderr since the last time, up to its last whole line."""
        # The worker writes at the file's position, which must not be moved.
        while written := os.pread(self.stderr.fileno(), _MOST_SAID, self.heard):
            if not to_the_end and len(written) < _MOST_SAID:
                written = written[: written.rfind(b"\n") + 1]
            self.heard += len(written)
            for line in written.decode("utf-8", "replace").splitlines():
                if line.strip():
                    self.last_words = line.rstrip()
                    console.warn(f"[worker {self.rank}] {self.last_words}")
            if not to_the_end:
                break


def _ending(code: int) -> str:
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def _watch(workers: Sequence[_Worker], totals: Mapping[str, int], description: str) -> int:
    """Wait for all workers, moving the bar on; returns the exit code of the run."""
    living = list(workers)
    with console.progress(description, totals) as advance:
        while living:
            _wait_a_little(living)
            living = [worker for worker in living if not worker.is_over()]
            for worker in workers:
                for count, category, status in worker.news():
                    advance(count, category, status=status)
    codes = {worker.process.returncode for worker in workers}
    if codes == {0}:
        return 0
    return worst_code(codes)


def _wait_a_little(workers: Sequence[_Worker]) -> None:
    """Sleep for one poll, or less when the first of the workers ends."""
    try:
        workers[0].process.wait(_POLL)
    except subprocess.TimeoutExpired:
        pass


def _stop(workers: Sequence[_Worker]) -> None:
    """End the workers that still run: ask, then kill."""
    # A Ctrl-C typed at the terminal reaches the workers by itself: another signal would only
    # disturb them while they end, so it is sent to those that did not hear the first.
    for number, grace in ((None, 0.5), (signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        for worker in workers:
            if number is not None and worker.process.poll() is None:
                worker.process.send_signal(number)
        if _all_ended(workers, grace):
            return


def _all_ended(workers: Sequence[_Worker], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while any(worker.process.poll() is None for worker in workers):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@dataclass(frozen=True)
class Assignment:
    """What the parent of a worker tells it beside its command line."""

    units: list[int] | None = None  # numbers of the units of work that it does; None: no parent
    overwrites: bool = False  # the run was started with --overwrite, which workers never are


def read_assignment() -> Assignment:
    """This process's; the default of a process that no run of ours started."""
    path = os.environ.get(ASSIGNMENT)
    return Assignment() if path is None else Assignment(**json.loads(Path(path).read_text()))


def read_progress(path: Path, begin: int) -> tuple[list[tuple[int, str, str]], int]:
    """The (count, category, status) a worker told since byte `begin`, and where to read on."""
    try:
        with path.open("rb") as file:
            file.seek(begin)
            lines = file.read()
    except FileNotFoundError:
        return [], begin
    lines = lines[: lines.rfind(b"\n") + 1]
    steps = []
    for line in lines.splitlines():
        with suppress(ValueError):  # of a worker that was killed within its line
            count, category, status = json.loads(line)
            steps.append((count, category, status))
    return steps, begin + len(lines)


def end_with_parent() -> None:
    """From now on stop, as by SIGTERM, when the parent is gone, as after its SIGKILL.

    The worker would go on unseen, and get in the way of the run that takes its work up again. One
    that does not hear, deep in another library, is killed a little later.
    """
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(_POLL)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()

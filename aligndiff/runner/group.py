"""The processes that torchrun or srun started together: the one run of a dataset folder.

They hold its lock together, and they end together: torchrun stops all processes as soon as one ends
with another code than 0, and a machine that is done waits for the others for five minutes only. No
network is needed for it, only file locks:

    rank 0   -- work --| wait for others.lock | gather messages, report, free first.lock
    others   -- work ----| leave a message, free others.lock | wait for first.lock
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aligndiff.core.console import say
from aligndiff.core.files import read_json, write_json
from aligndiff.core.ranks import Share, is_first, is_worker, launched_share
from aligndiff.runner.lock import SIBLINGS, folder_lock, open_writable, read_lines, try_lock

_FIRST_FILE = f"{SIBLINGS}first.lock"  # held by the first process of a launch until it is done
_OTHERS_FILE = f"{SIBLINGS}others.lock"  # held by each of the others while it works
# Seconds from a process's start until it waits no longer for others to begin. The first one would
# count as undone what they do after that.
_LATEST = 60.0


class LaunchGroup:
    """The processes of a launch that work in a dataset folder; a process alone is a group of one.

    `lock` is the folder's lock file, or None where there are no locks.
    """

    def __init__(self, root: Path, lock: int | None) -> None:
        self.root, self.lock = root, lock
        self.started = time.monotonic()
        # A worker of ours has only its parent.
        self.share = (None if is_worker() else launched_share()) or Share(0, 1)
        self.locks = self._open() if self.share.world_size > 1 and lock is not None else None
        if self.locks is None or lock is None:
            return
        first, others = self.locks
        self._message_file(self.share.rank).unlink(missing_ok=True)  # of a run that was killed
        fcntl.flock(*((first, fcntl.LOCK_EX) if self.share.is_main else (others, fcntl.LOCK_SH)))
        os.write(lock, f"process {self.share.rank} is there\n".encode())

    @property
    def reports_all(self) -> bool:
        """Whether this process reports on the whole run: the first one, when the others are done.

        Where there are no locks nobody waits, and each process knows of its own share only.
        """
        return is_first() and (self.share.world_size == 1 or self.locks is not None)

    def title(self, what: str) -> str:
        """The title of a table that this process prints: "images", or whose images they are."""
        if self.reports_all:
            return what
        return f"{what} of process {self.share.rank} of {self.share.world_size}"

    @contextmanager
    def finish(self, message: Any = None) -> Iterator[list[Any]]:
        """A barrier and a gather around what follows the work: reports, and the end.

        The first process of a launch gets inside when the work of all of them is done. The others
        leave it when the first one has left the dataset folder. One that is killed is not waited
        for. Yields the messages, ready for JSON: of the first process all of them, its own in
        front; of another one only its own.
        """
        if self.locks is None:
            yield [message]
            return
        first, others = self.locks
        if self.share.is_main:
            self._wait_for(others)
            yield [message, *self._other_messages()]
            return
        if message is not None:
            write_json(self._message_file(self.share.rank), message)
        fcntl.flock(others, fcntl.LOCK_UN)
        yield [message]
        # All is done here, so whatever stops the waiting does not matter.
        with contextlib.suppress(KeyboardInterrupt):
            self._wait_until_all_came()
            fcntl.flock(first, fcntl.LOCK_SH)
            fcntl.flock(first, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of all of it; those that wait for this process go on."""
        for file in self.locks or ():
            os.close(file)

    def _open(self) -> tuple[int, int] | None:
        """The two files; None where another user's lie, after a run of theirs was killed."""
        first, others = (open_writable(self.root / name) for name in (_FIRST_FILE, _OTHERS_FILE))
        return None if first is None or others is None else (first, others)

    def _wait_for(self, others: int) -> None:
        if not (self._all_came() and try_lock(others, fcntl.LOCK_EX)):
            say("this process is done; waiting for the others")
            self._wait_until_all_came()
            fcntl.flock(others, fcntl.LOCK_EX)

    def _all_came(self) -> bool:
        """A process that begins late holds nothing yet that could be waited for."""
        return self.lock is None or len(read_lines(self.lock)) >= 2 + self.share.world_size

    def _wait_until_all_came(self) -> None:
        while not self._all_came() and time.monotonic() - self.started < _LATEST:
            time.sleep(0.1)

    def _message_file(self, rank: int) -> Path:
        return self.root / f"{SIBLINGS}message.{rank}.json"

    def _other_messages(self) -> list[Any]:
        paths = map(self._message_file, range(1, self.share.world_size))
        return [read_json(path) for path in paths if path.exists()]


@contextmanager
def only_run_in(root: Path, command: str = "aligndiff") -> Iterator[LaunchGroup]:
    """Hold the lock of a dataset folder, alone or with the processes of this launch.

    Yields their group, with which this process ends. Raises InputError, with what is known of it,
    when another run works there; `command` is what it hears of this one. A worker of ours has the
    lock from its parent.
    """
    with contextlib.nullcontext() if is_worker() else folder_lock(root, command) as lock:
        group = LaunchGroup(root, lock)
        try:
            yield group
        finally:
            group.close()

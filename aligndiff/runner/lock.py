"""One run at a time in a dataset folder: two that write the same files would mix them.

The lock is the kernel's (flock) and goes with the processes that hold it, however they end. A run
of several processes is one run: all that torchrun or srun started together may hold the lock at
once, and the workers that a run started itself hold it for as long as one of them lives.

What torchrun or srun started also leaves together. torchrun stops all processes as soon as one ends
with another code than 0, and a machine that is done waits for the others for five minutes only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aligndiff.core.console import say, warn
from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json, write_json
from aligndiff.core.ranks import Share, is_first, is_worker, launched_share

LOCK_FILE = ".aligndiff.lock"
_FIRST_FILE = ".aligndiff.first.lock"  # held by the first process of a launch until it is done
_OTHERS_FILE = ".aligndiff.others.lock"  # held by each of the others while it works
_WORDS = ".aligndiff.words."  # what one of them has to say in the end

# Processes of one launch find these alike, and no two launches have all of them alike.
_LAUNCH_VARIABLES = (
    ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"),
    ("SLURM_JOB_ID", "SLURM_STEP_ID"),
)
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS}
# Seconds. Processes of one launch arrive together and get in each other's way for a moment, and
# workers whose parent was killed need one to notice.
_PATIENCE = 2.0
# Seconds from a process's start until it waits no longer for others to begin. The first one would
# count as undone what they do after that.
_LATEST = 60.0


class Company:
    """The processes of a launch that work in a dataset folder together; one alone has none."""

    def __init__(self, root: Path, lock: int | None) -> None:
        self.root, self.lock = root, lock
        self.begun = time.monotonic()
        # A worker of ours has only its parent.
        self.share = (None if is_worker() else launched_share()) or Share(0, 1)
        self.locks = self._open() if self.share.world_size > 1 and lock is not None else None
        if self.locks is None or lock is None:
            return
        first, others = self.locks
        self._words(self.share.rank).unlink(missing_ok=True)  # of a run that was killed
        fcntl.flock(*((first, fcntl.LOCK_EX) if self.share.is_main else (others, fcntl.LOCK_SH)))
        os.write(lock, f"process {self.share.rank} is there\n".encode())

    @property
    def tells_all(self) -> bool:
        """Whether this process reports on the whole run: the first one, when the others are done.

        Where there are no locks nobody waits, and each process knows of its own share only.
        """
        return is_first() and (self.share.world_size == 1 or self.locks is not None)

    def title(self, what: str) -> str:
        """The title of a table that this process prints: "images", or whose images they are."""
        if self.tells_all:
            return what
        return f"{what} of process {self.share.rank} of {self.share.world_size}"

    @contextmanager
    def leaving(self, words: Any = None) -> Iterator[list[Any]]:
        """For what follows the work of this process: reports, and its end.

        The first process of a launch gets inside when the work of all of them is done. The others
        leave it when the first one has left the dataset folder. One that is killed is not waited
        for. Yields what this process has to say, `words` ready for JSON; for the first one also
        those of the others.
        """
        if self.locks is None:
            yield [words]
            return
        first, others = self.locks
        if self.share.is_main:
            self._wait_for(others)
            yield [words, *self._others_words()]
            return
        if words is not None:
            write_json(self._words(self.share.rank), words)
        fcntl.flock(others, fcntl.LOCK_UN)
        yield [words]
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
        flags = os.O_RDWR | os.O_CREAT
        try:
            first = os.open(self.root / _FIRST_FILE, flags, 0o666)
            return first, os.open(self.root / _OTHERS_FILE, flags, 0o666)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            return None

    def _wait_for(self, others: int) -> None:
        if not (self._all_came() and _try(others, fcntl.LOCK_EX)):
            say("this process is done; waiting for the others")
            self._wait_until_all_came()
            fcntl.flock(others, fcntl.LOCK_EX)

    def _all_came(self) -> bool:
        """One that begins late holds nothing yet that could be waited for."""
        return self.lock is None or len(_said(self.lock)) >= 2 + self.share.world_size

    def _wait_until_all_came(self) -> None:
        while not self._all_came() and time.monotonic() - self.begun < _LATEST:
            time.sleep(0.1)

    def _words(self, rank: int) -> Path:
        return self.root / f"{_WORDS}{rank}.json"

    def _others_words(self) -> list[Any]:
        paths = map(self._words, range(1, self.share.world_size))
        return [read_json(path) for path in paths if path.exists()]


@contextmanager
def only_run_in(root: Path) -> Iterator[Company]:
    """Hold the lock of a dataset folder; the file vanishes with the last process of the run.

    Yields the company that this process has, with which it leaves in the end. Raises InputError,
    with what is known of it, when another run works there. A worker of ours has the lock from its
    parent. Where the file system has no locks a line says so. A folder that may not be written to
    is not locked: what is to be written there will be told.
    """
    if is_worker():
        yield Company(root, None)
        return
    path = root / LOCK_FILE
    file = _acquire(path)
    try:
        company = Company(root, file)
        try:
            yield company
        finally:
            company.close()
    finally:
        if file is not None:
            _release(path, file)


def _acquire(path: Path) -> int | None:
    """The open lock file, or None where there are no locks."""
    run = _run_id()
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            return None
        # Workers inherit it, and with it the lock: it outlives a parent that is killed.
        os.set_inheritable(file, True)
        try:
            if _lock(file, run) and _is_still(path, file):
                return file
        except OSError as error:
            os.close(file)
            if error.errno not in _NO_LOCKS:
                raise
            warn(f"note: {path.parent}: no file locks here; see that no other run works in it")
            return None
        holder = _holder(file)
        os.close(file)
        if time.monotonic() > until:
            raise InputError(
                f"{path.parent}: another run works in this dataset folder{holder}; "
                "wait until it ends, or stop it"
            )
        time.sleep(0.05)


def _lock(file: int, run: str) -> bool:
    """Take the lock for `run`: as the first of it, or beside others of it."""
    if _try(file, fcntl.LOCK_EX):
        os.ftruncate(file, 0)
        os.write(file, f"{run}\n{_who()}\n".encode(errors="replace"))
        return _try(file, fcntl.LOCK_SH)
    return _try(file, fcntl.LOCK_SH) and _said(file)[:1] == [run]


def _try(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, file: int) -> bool:
    """Whether the locked file is the one at `path`: its last holder may just have removed it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _release(path: Path, file: int) -> None:
    """Let go; the last one removes the file. A dataset folder that is gone takes it along."""
    with contextlib.suppress(OSError):
        if _try(file, fcntl.LOCK_EX) and _is_still(path, file):
            words = path.parent.glob(f"{_WORDS}*")
            for other in (path.with_name(_FIRST_FILE), path.with_name(_OTHERS_FILE), *words):
                other.unlink(missing_ok=True)
            path.unlink()
    os.close(file)


def _run_id() -> str:
    """What the processes of this launch have in common, and no other run."""
    # One that stands alone is a run of its own, whatever shell of a batch system it was typed in.
    alone = launched_share() is None
    for names in () if alone else _LAUNCH_VARIABLES:
        if all(name in os.environ for name in names):
            return " ".join(f"{name}={os.environ[name]}" for name in names)
    return uuid.uuid4().hex


def _who() -> str:
    since = time.strftime("%F %T")
    command = " ".join(map(os.path.basename, sys.argv[:1]))
    return f"{command}, process {os.getpid()} on {socket.gethostname()}, since {since}"


def _said(file: int) -> list[str]:
    return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace").splitlines()


def _holder(file: int) -> str:
    said = _said(file)
    return f" ({said[1]})" if len(said) > 1 else ""

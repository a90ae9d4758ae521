"""One run at a time in a dataset folder: two that write the same files would mix them.

The lock is the kernel's (flock) and goes with the processes that hold it, however they end. A run
of several processes is one run: all that torchrun or srun started together may hold the lock at
once, and the workers that a run started itself hold it for as long as one of them lives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aligndiff.core.console import warn
from aligndiff.core.errors import InputError
from aligndiff.core.ranks import launched_share

LOCK_FILE = ".aligndiff.lock"
SIBLINGS = ".aligndiff."  # what the processes of a launch keep beside it begins so

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


@contextmanager
def folder_lock(root: Path, command: str) -> Iterator[int | None]:
    """Hold the lock of a dataset folder; the file vanishes with the last process of the run.

    Yields the open lock file: whose run it is, who holds it, and a line for each process of the
    launch that came. Raises InputError, with what is known of it, when another run works there.
    None where the file system has no locks, which a line says, and in a folder that may not be
    written to: what is to be written there will fail by itself.
    """
    path = root / LOCK_FILE
    file = _acquire(path, command)
    try:
        yield file
    finally:
        if file is not None:
            _release(path, file)


def open_writable(path: Path, flags: int = 0) -> int | None:
    """The open file, made where it is missing; None where it may not be written to."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        return None


def try_lock(file: int, kind: int) -> bool:
    """Take an flock of this kind, unless another process is in the way."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_lines(file: int) -> list[str]:
    """The lines of an open file, wherever its position is."""
    return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace").splitlines()


def _acquire(path: Path, command: str) -> int | None:
    """The open lock file, or None where there are no locks."""
    run = _run_id()
    until = time.monotonic() + _PATIENCE
    while True:
        file = open_writable(path, os.O_APPEND)
        if file is None:
            return None
        # Workers inherit it, and with it the lock: it outlives a parent that is killed.
        os.set_inheritable(file, True)
        try:
            if _lock(file, run, command) and _is_still(path, file):
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


def _lock(file: int, run: str, command: str) -> bool:
    """Take the lock for `run`: as the first of it, or beside others of it."""
    if try_lock(file, fcntl.LOCK_EX):
        os.ftruncate(file, 0)
        os.write(file, f"{run}\n{_who(command)}\n".encode(errors="replace"))
        return try_lock(file, fcntl.LOCK_SH)
    return try_lock(file, fcntl.LOCK_SH) and read_lines(file)[:1] == [run]


def _is_still(path: Path, file: int) -> bool:
    """Whether the locked file is the one at `path`: its last holder may just have removed it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _release(path: Path, file: int) -> None:
    """Let go; the last one removes the file. A dataset folder that is gone takes it along."""
    with contextlib.suppress(OSError):
        if try_lock(file, fcntl.LOCK_EX) and _is_still(path, file):
            for sibling in set(path.parent.glob(f"{SIBLINGS}*")) - {path}:
                sibling.unlink(missing_ok=True)
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


def _who(command: str) -> str:
    since = time.strftime("%F %T")
    return f"{command}, process {os.getpid()} on {socket.gethostname()}, since {since}"


def _holder(file: int) -> str:
    lines = read_lines(file)
    return f" ({lines[1]})" if len(lines) > 1 else ""

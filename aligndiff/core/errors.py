"""The errors a user can meet, each one line: what, where, what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Container, Sequence
from typing import Any

_MOST_CHARACTERS = 1000  # of a line: a value of a hostile file may hold megabytes
_END = 300  # characters of the end that are kept, where a message says what to do

BUG = 70  # the exit code of a traceback ("internal software error" among the codes of BSD)
# A note on what stops a run that was to overwrite something. Had it not begun to, the next run asks
# for --overwrite again.
WITHOUT_OVERWRITE = "the next time leave --overwrite out, unless it is asked for"

# Faults of the machine, not of the program, and what the user can do about each: a traceback would
# tell nothing more.
_MAKE_ROOM = "close other programs, start fewer workers, or take smaller batches or images"
_PERMISSION = "change its permissions"
_DISK_AWAY = "the disk or its server cannot be reached: see that it is there again"
_REMEDIES = {
    errno.ENOSPC: "make space on the disk",
    errno.EDQUOT: "make space, or have the quota raised",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or use another disk",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "the disk is mounted for reading only: mount it for writing",
    errno.EIO: "the disk does not answer as it should: look into the system's log, and mend it",
    errno.ESTALE: _DISK_AWAY,
    errno.ENOTCONN: _DISK_AWAY,
    errno.ENODEV: _DISK_AWAY,
    errno.ENXIO: _DISK_AWAY,
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close programs that keep many files open",
    errno.ENOMEM: _MAKE_ROOM,
}
# The last is all that a convolution on a CPU says when it finds no room for its own scratch pad.
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|_ALLOC_FAILED|"
    r"could not create a (primitive|memory)"
)
_FOLDER_GONE = {errno.ENOENT, errno.ENOTDIR}
GONE = "was here and is gone: bring it back, or mount its disk again"


class AlignDiffError(Exception):
    """Something went wrong that the user can understand. `problems` holds one line each."""

    exit_code = 1

    def __init__(self, problems: str | Sequence[str]) -> None:
        lines = [problems] if isinstance(problems, str) else list(problems)
        self.problems = tuple(one_line(line) for line in lines)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[AlignDiffError], tuple[tuple[str, ...]], dict[str, Any]]:
        return type(self), (self.problems,), self.__dict__  # notes are among these


class MachineFault(AlignDiffError):
    """A fault of the machine; whoever reports it says how to continue."""


class InputError(AlignDiffError):
    """The command line, the prompt bank or an input file is wrong; holds all problems found."""

    exit_code = 2


class MissingWeightsError(InputError):
    """Model weights are not where they were looked for, or the hub cannot be reached."""


def how_to_continue(error: BaseException) -> str:
    """What to do after what stopped a run, as the end of a message."""
    notes = getattr(error, "__notes__", ())
    hint = ", without --overwrite unless it is asked for," if WITHOUT_OVERWRITE in notes else ""
    return f"run the same command again{hint} to continue"


def worst_code(codes: Container[int]) -> int:
    """The exit code of a run some of whose processes did not end well, from theirs."""
    return next((code for code in (InputError.exit_code, BUG) if code in codes), 1)


def as_problem(error: BaseException) -> AlignDiffError | None:
    """The error as `exit_with` tells it; None for a bug."""
    if isinstance(error, AlignDiffError) and not isinstance(error, MachineFault):
        return error
    fault = str(error) if isinstance(error, MachineFault) else _fault_of_the_machine(error)
    return None if fault is None else AlignDiffError(f"{fault}; then {how_to_continue(error)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory, a GPU's or the CPU's, did not suffice.

    Torch has a class of its own for CUDA, looked at by name: importing torch takes seconds. Its
    other allocators raise a plain RuntimeError.
    """
    if isinstance(error, RuntimeError):
        named = type(error).__name__ == "OutOfMemoryError"
        return named or _NO_MEMORY.search(str(error)) is not None
    return isinstance(error, MemoryError)


def _fault_of_the_machine(error: BaseException) -> str | None:
    """What to tell of an error that no change of the program would prevent; None for a bug.

    A file that is missing in a folder that is there is a bug. Where the folder itself is missing,
    somebody took it away: scripts check their folders before they begin.
    """
    if is_out_of_memory(error):
        reason = f" ({error})" if str(error) else ""
        return f"out of memory{reason}: {_MAKE_ROOM}"
    if not isinstance(error, OSError):
        return None
    if error.errno in _FOLDER_GONE and isinstance(error.filename, str):
        gone = _missing_folder(error.filename)
        return None if gone is None else f"{gone}: this folder {GONE}"
    if error.errno not in _REMEDIES:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{os.strerror(error.errno)}: {_REMEDIES[error.errno]}"


def _missing_folder(path: str) -> str | None:
    """The topmost folder on the way to a file that is not there; None when all of them are."""
    missing, folder = None, os.path.dirname(path)
    while folder and not os.path.isdir(folder):
        missing, folder = folder, os.path.dirname(folder)
    return missing


def printable(text: str) -> str:
    r"""`text` with line breaks, control characters and stray bytes written as \n, \x1b, \udce9."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def one_line(text: str) -> str:
    """`text` printable, line breaks turned into spaces, and cut in the middle when very long."""
    line = printable(re.sub(r"\s*\n\s*", " ", text.strip()))
    if len(line) <= _MOST_CHARACTERS:
        return line
    return f"{line[: _MOST_CHARACTERS - _END]} ... {line[-_END:]}"

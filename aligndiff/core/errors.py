"""The errors a user can meet, each one line: what, where, what to do."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Container, Sequence
from typing import Any, NoReturn

from aligndiff.core.text import one_line

BUG = 70  # the exit code of a traceback ("internal software error" among the codes of BSD)
OVERWRITES = "ALIGNDIFF_OVERWRITES"  # set for processes of a run that --overwrite was typed for
_MOMENT = 0.1  # seconds after which a stop that Python dropped is repeated
_MOST_PROBLEMS = 50  # lines; a file with more of them than this is wrong as a whole

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
_BRING_BACK = "this folder was here and is gone: bring it back, or mount its disk again"


def overwrites() -> bool:
    """Whether the user typed --overwrite; those that a run starts do not find it in their words."""
    return "--overwrite" in sys.argv or OVERWRITES in os.environ


def how_to_continue() -> str:
    """What to do after a stop, as the end of a message."""
    # A run that was to overwrite something and had not begun to is told to ask for it again.
    hint = ", without --overwrite unless it is asked for," if overwrites() else ""
    return f"run the same command again{hint} to continue"


class AlignDiffError(Exception):
    """Something went wrong that the user can understand. `problems` holds one line each."""

    exit_code = 1

    def __init__(self, problems: str | Sequence[str]) -> None:
        lines = [problems] if isinstance(problems, str) else list(problems)
        self.problems = tuple(one_line(line) for line in lines)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[AlignDiffError], tuple[tuple[str, ...]], dict[str, Any]]:
        return type(self), (self.problems,), self.__dict__  # notes are among these


class InputError(AlignDiffError):
    """The command line, the prompt bank or an input file is wrong; holds all problems found."""

    exit_code = 2


class MissingWeightsError(InputError):
    """Model weights are not where they were looked for, or the hub cannot be reached."""


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with the code it returns: 0 all done, 1 some samples failed, 2 bad input.

    Every problem of an `AlignDiffError` becomes one line on stderr. Ctrl-C ends with 130 and
    SIGTERM with 143, after what was begun is put in order. Other exceptions are bugs: they keep
    their traceback and end with 70.
    """
    _show_any_name()
    was_terminated = _heed_sigterm()
    try:
        code = main()
    except KeyboardInterrupt:
        code = _stopped(signal.SIGTERM if was_terminated() else signal.SIGINT)
    except BrokenPipeError:  # nobody reads our output any more, as after `| head`
        sys.stdout = open(os.devnull, "w")
        code = AlignDiffError.exit_code
    except Exception as error:
        problem = as_problem(error)
        if was_terminated():  # what a library made of it
            code = _stopped(signal.SIGTERM)
        elif problem is None:
            traceback.print_exc()
            code = BUG
        else:
            code = _report(problem)
    sys.exit(code)


def _stopped(number: signal.Signals) -> int:
    print(f"stopped; {how_to_continue()}", file=sys.stderr)
    return 128 + number


def worst_code(codes: Container[int]) -> int:
    """The exit code of a run some of whose processes did not end well, from theirs."""
    return next((code for code in (InputError.exit_code, BUG) if code in codes), 1)


def as_problem(error: BaseException) -> AlignDiffError | None:
    """The error as `exit_with` tells it; None for a bug."""
    if isinstance(error, AlignDiffError):
        return error
    fault = _fault_of_the_machine(error)
    return None if fault is None else AlignDiffError(fault)


def _heed_sigterm() -> Callable[[], bool]:
    """Let SIGTERM, by which batch systems end jobs, unwind the program as Ctrl-C does, once.

    A second one ends the process at once. Returns what tells whether there was one. Python drops
    an exception that is raised where an object is deleted: such a stop is repeated a moment later.
    """
    came = False
    usual_hook = sys.unraisablehook

    def stop(number: int, frame: object) -> None:
        nonlocal came
        came = True
        stop_again(number, frame)

    def stop_again(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            usual_hook(dropped)
            return
        signal.signal(signal.SIGTERM, stop_again)
        threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGTERM)).start()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
        sys.unraisablehook = hook
    return lambda: came


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
        return f"out of memory{reason}: {_MAKE_ROOM}; then {how_to_continue()}"
    if not isinstance(error, OSError):
        return None
    if error.errno in _FOLDER_GONE and isinstance(error.filename, str):
        gone = _missing_folder(error.filename)
        return None if gone is None else f"{gone}: {_BRING_BACK}; then {how_to_continue()}"
    if error.errno not in _REMEDIES:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{os.strerror(error.errno)}: {_REMEDIES[error.errno]}; then {how_to_continue()}"


def _missing_folder(path: str) -> str | None:
    """The topmost folder on the way to a file that is not there; None when all of them are."""
    missing, folder = None, os.path.dirname(path)
    while folder and not os.path.isdir(folder):
        missing, folder = folder, os.path.dirname(folder)
    return missing


def _report(error: AlignDiffError) -> int:
    problems = error.problems
    for problem in problems[:_MOST_PROBLEMS]:
        print(f"error: {one_line(problem)}", file=sys.stderr)
    if len(problems) > _MOST_PROBLEMS:
        print(f"error: and {len(problems) - _MOST_PROBLEMS} more problems", file=sys.stderr)
    return error.exit_code


def _show_any_name() -> None:
    """Make stdout write what its encoding lacks as an escape, as stderr does, and not fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

"""The errors a user can meet, each one line: what, where, what to do."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from aligndiff.ground.text import one_line

BUG = 70  # the exit code of a traceback ("internal software error" among the codes of BSD)
_MOST_PROBLEMS = 50  # lines; a file with more of them than this is wrong as a whole

# Faults of the machine, not of the program: a traceback would tell the user nothing more.
_MACHINE_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class AlignDiffError(Exception):
    """Something went wrong that the user can understand. `problems` holds one line each."""

    exit_code = 1

    def __init__(self, problems: str | Sequence[str]) -> None:
        lines = [problems] if isinstance(problems, str) else list(problems)
        self.problems = tuple(one_line(line) for line in lines)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[AlignDiffError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class InputError(AlignDiffError):
    """The command line, the prompt bank or an input file is wrong; holds all problems found."""

    exit_code = 2


class MissingWeightsError(InputError):
    """Model weights are not where they were looked for, or the hub cannot be reached."""


class Stopped(KeyboardInterrupt):
    """SIGTERM came: batch systems end jobs that way. Unwinds the program as Ctrl-C does."""


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with the code it returns: 0 all done, 1 some samples failed, 2 bad input.

    Every problem of an `AlignDiffError` becomes one line on stderr. Ctrl-C ends with 130 and
    SIGTERM with 143, after what was begun is put in order. Other exceptions are bugs: they keep
    their traceback and end with 70.
    """
    _show_any_name()
    _heed_sigterm()
    try:
        code = main()
    except AlignDiffError as error:
        code = _report(error.problems, error.exit_code)
    except KeyboardInterrupt as stop:
        print(
            "stopped; run the same command again, without --overwrite, to continue", file=sys.stderr
        )
        code = 128 + (signal.SIGTERM if isinstance(stop, Stopped) else signal.SIGINT)
    except BrokenPipeError:  # nobody reads our output any more, as after `| head`
        sys.stdout = open(os.devnull, "w")
        code = AlignDiffError.exit_code
    except OSError as error:
        if error.errno not in _MACHINE_FAULTS:
            traceback.print_exc()
            sys.exit(BUG)
        where = f"{error.filename}: " if error.filename else ""
        reason = os.strerror(error.errno or 0)
        again = "put that right and run the same command again, without --overwrite, to continue"
        code = _report([f"{where}{reason}; {again}"], AlignDiffError.exit_code)
    except Exception:
        traceback.print_exc()
        code = BUG
    sys.exit(code)


def _heed_sigterm() -> None:
    """Let SIGTERM raise `Stopped`, once: a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Stopped

    signal.signal(signal.SIGTERM, stop)


def _report(problems: Sequence[str], code: int) -> int:
    for problem in problems[:_MOST_PROBLEMS]:
        print(f"error: {one_line(problem)}", file=sys.stderr)
    if len(problems) > _MOST_PROBLEMS:
        print(f"error: and {len(problems) - _MOST_PROBLEMS} more problems", file=sys.stderr)
    return code


def _show_any_name() -> None:
    """Make stdout write what its encoding lacks as an escape, as stderr does, and not fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

"""The errors a user can meet, each one line: what, where, what to do."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from aligndiff.ground.text import one_line

_STOPPED = 130  # the exit code of a shell command ended by Ctrl-C
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


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with the code it returns: 0 all done, 1 some samples failed, 2 bad input.

    Every problem of an `AlignDiffError` becomes one line on stderr; other exceptions are bugs and
    keep their traceback.
    """
    _show_any_name()
    try:
        code = main()
    except AlignDiffError as error:
        code = _report(error.problems, error.exit_code)
    except KeyboardInterrupt:
        print(
            "stopped; run the same command again, without --overwrite, to continue", file=sys.stderr
        )
        code = _STOPPED
    except BrokenPipeError:  # nobody reads our output any more, as after `| head`
        sys.stdout = open(os.devnull, "w")
        code = AlignDiffError.exit_code
    except OSError as error:
        if error.errno not in _MACHINE_FAULTS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        reason = os.strerror(error.errno or 0)
        again = "put that right and run the same command again, without --overwrite, to continue"
        code = _report([f"{where}{reason}; {again}"], AlignDiffError.exit_code)
    sys.exit(code)


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

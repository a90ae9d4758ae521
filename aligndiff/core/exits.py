"""How a command ends: exit codes, SIGTERM, Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from aligndiff.core.errors import (
    BUG,
    WITHOUT_OVERWRITE,
    AlignDiffError,
    as_problem,
    how_to_continue,
    one_line,
)

_MOMENT = 0.1  # seconds after which a stop that Python dropped is repeated
_MOST_PROBLEMS = 50  # lines; a file with more of them than this is wrong as a whole


@contextmanager
def overwriting(overwrite: bool) -> Iterator[None]:
    """What stops a run in here tells its user to leave --overwrite out the next time, if it is on.

    What was made anew would be made once more.
    """
    try:
        yield
    except BaseException as error:
        if overwrite:
            error.add_note(WITHOUT_OVERWRITE)
        raise


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
    except KeyboardInterrupt as error:
        code = _stopped(signal.SIGTERM if was_terminated() else signal.SIGINT, error)
    except BrokenPipeError:  # nobody reads our output any more, as after `| head`
        sys.stdout = open(os.devnull, "w")
        code = AlignDiffError.exit_code
    except Exception as error:
        problem = as_problem(error)
        if was_terminated():  # what a library made of it
            code = _stopped(signal.SIGTERM, error)
        elif problem is None:
            traceback.print_exc()
            code = BUG
        else:
            code = _report(problem)
    sys.exit(code)


def _stopped(number: signal.Signals, error: BaseException) -> int:
    print(f"stopped; {how_to_continue(error)}", file=sys.stderr)
    return 128 + number


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


@contextmanager
def interrupt_later() -> Iterator[Callable[[], bool]]:
    """While open, the first Ctrl-C only makes the yielded function say True.

    Whoever asks it comes to an end in good order; on leaving, KeyboardInterrupt is raised after
    all. A second Ctrl-C interrupts at once. Only for the main thread.
    """
    pressed = False

    def note(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt

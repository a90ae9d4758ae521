"""How a command ends: exit codes, what is told, signals, Ctrl-C."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aligndiff.core.errors import (
    AlignDiffError,
    InputError,
    MachineFault,
    MissingWeightsError,
    is_out_of_memory,
)
from aligndiff.core.exits import exit_with, interrupt_later, overwriting


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AlignDiffError("two of six failed"), 1, "error: two of six failed\n"),
        (InputError(["a: bad", "b: bad"]), 2, "error: a: bad\nerror: b: bad\n"),
        (BrokenPipeError(), 1, ""),
        (MissingWeightsError("no weights"), 2, "error: no weights\n"),
        (KeyboardInterrupt(), 130, "stopped; run the same command again to continue\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.png"),
            1,
            "error: a.png: No space left on device: make space on the disk; then run the same"
            " command again to continue\n",
        ),
    ],
)
def test_exit_code_and_text(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with(raising(error))
    assert end.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_of_main(code: int) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with(lambda: code)
    assert end.value.code == code


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EDQUOT, "make space, or have the quota raised"),
        (errno.EFBIG, "raise the limit on the size of files"),
        (errno.EACCES, "change its permissions"),
        (errno.EROFS, "mount it for writing"),
        (errno.EIO, "look into the system's log"),
        (errno.ESTALE, "see that it is there again"),
        (errno.EMFILE, "raise the limit on open files"),
        (errno.ENOMEM, "close other programs"),
    ],
)
def test_every_fault_of_the_machine_says_what_to_do(
    number: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with(raising(OSError(number, "", "data/a.png")))
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 1 and line.startswith(f"error: data/a.png: {os.strerror(number)}: ")
    assert advice in line and line.endswith("then run the same command again to continue")


def test_a_folder_that_is_gone_is_told_and_a_file_that_is_missing_is_a_bug(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(path: Path) -> Callable[[], int]:
        return lambda: len(path.read_bytes())

    (tmp_path / "file").touch()
    for gone in (tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(SystemExit) as end:
            exit_with(read(gone / "deep" / "a.png"))
        (line,) = capsys.readouterr().err.splitlines()
        assert end.value.code == 1
        assert line.startswith(f"error: {gone}: this folder was here and is gone: bring it back")
    for bug in (tmp_path / "a.png", Path("a.png")):
        with pytest.raises(SystemExit) as end:
            exit_with(read(bug))
        assert end.value.code == 70
        assert "FileNotFoundError" in capsys.readouterr().err


def allocate_with_torch() -> int:
    return len(torch.empty(2**50, dtype=torch.uint8))


def allocate_with_numpy() -> int:
    return len(np.empty(2**50, np.uint8))


def on_a_gpu() -> int:
    raise torch.OutOfMemoryError("Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("work", [allocate_with_torch, allocate_with_numpy, on_a_gpu])
def test_out_of_memory_is_known_whoever_says_so(
    work: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as error:
        work()
    assert is_out_of_memory(error.value)
    with pytest.raises(SystemExit) as end:
        exit_with(work)
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 1 and line.startswith("error: out of memory (")
    assert "take smaller batches or images" in line


@pytest.mark.parametrize("bug", [ValueError("bug"), ConnectionError("bug"), RuntimeError("bug")])
def test_bugs_keep_their_traceback(bug: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with(raising(bug))
    assert end.value.code == 70
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and said.endswith(f"{type(bug).__name__}: bug\n")


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "", "a.png"), 1),
        (MachineFault("data: is gone: bring it back"), 1),
    ],
)
def test_who_overwrites_is_told_to_leave_it_out(
    stop: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was made anew would be made once more."""

    def main(overwrite: bool) -> int:
        with overwriting(overwrite):
            raise stop

    for overwrite, advice in ((False, ""), (True, ", without --overwrite unless it is asked for,")):
        with pytest.raises(SystemExit) as end:
            exit_with(lambda overwrite=overwrite: main(overwrite))
        assert end.value.code == code
        assert capsys.readouterr().err.endswith(f"run the same command again{advice} to continue\n")


def test_the_traceback_of_a_bug_says_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        with overwriting(True):
            raise ValueError("bug")

    with pytest.raises(SystemExit):
        exit_with(main)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "the next time leave --overwrite out, unless it is asked for"


def test_sigterm_puts_things_in_order_and_ends_with_143() -> None:
    code = (
        "import os, signal, time\n"
        "from aligndiff.core.exits import exit_with, overwriting\n"
        "def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        print('put in order', flush=True)\n"
        "exit_with(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, "put in order\n")
    assert done.stderr == "stopped; run the same command again to continue\n"


LOST = """
import os, signal, time
from aligndiff.core.exits import exit_with, overwriting

class Deleted:
    def __del__(self):
        os.kill(os.getpid(), signal.{number})
        for _ in range(100):
            pass

def main():
    Deleted()
    time.sleep(20)
    return 0
signal.signal(signal.SIGINT, signal.default_int_handler)
exit_with(main)
"""


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_that_comes_while_an_object_is_deleted_is_not_lost(number: str, code: int) -> None:
    """Python drops what is raised there, as it does often while libraries are imported."""
    words = [sys.executable, "-c", LOST.format(number=number)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stderr) == (
        code,
        "stopped; run the same command again to continue\n",
    )


def test_what_a_library_makes_of_a_stop_is_a_stop() -> None:
    code = (
        "import os, signal\n"
        "from aligndiff.core.errors import InputError\n"
        "from aligndiff.core.exits import exit_with, overwriting\n"
        "def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except BaseException:\n"
        "        raise InputError('the model cannot be loaded') from None\n"
        "exit_with(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 143 and done.stderr.startswith("stopped; run the same command again")


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_press_waits_until_the_end() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), interrupt_later() as pressed:
        assert not pressed()
        press()
        steps.append(pressed())
    assert steps == [True]


def test_the_second_press_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt_later():
        press()
        press()
        pytest.fail("went on after the second press")


def test_ctrl_c_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupt_later() as pressed:
        assert not pressed()
    assert signal.getsignal(signal.SIGINT) is before

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

from aligndiff.ground.errors import AlignDiffError, InputError, MissingWeightsError, exit_with


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def test_a_problem_is_one_line() -> None:
    error = InputError("what:\n  where \n what to do")
    assert error.problems == ("what: where what to do",)
    assert str(InputError(["one", "two"])) == "one\ntwo"


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(InputError(["one", "two"])))
    assert isinstance(error, InputError)
    assert error.problems == ("one", "two")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AlignDiffError("two of six failed"), 1, "error: two of six failed\n"),
        (InputError(["a: bad", "b: bad"]), 2, "error: a: bad\nerror: b: bad\n"),
        (BrokenPipeError(), 1, ""),
        (MissingWeightsError("no weights"), 2, "error: no weights\n"),
        (
            KeyboardInterrupt(),
            130,
            "stopped; run the same command again, without --overwrite, to continue\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.png"),
            1,
            "error: a.png: No space left on device; put that right and run the same command again,"
            " without --overwrite, to continue\n",
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


@pytest.mark.parametrize("bug", [ValueError("bug"), ConnectionError("bug")])
def test_bugs_keep_their_traceback(bug: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with(raising(bug))
    assert end.value.code == 70
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and said.endswith(f"{type(bug).__name__}: bug\n")


def test_sigterm_puts_things_in_order_and_ends_with_143() -> None:
    code = (
        "import os, signal, time\n"
        "from aligndiff.ground.errors import exit_with\n"
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
    assert done.stderr == "stopped; run the same command again, without --overwrite, to continue\n"

from __future__ import annotations

import errno
import pickle
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
def test_bugs_keep_their_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug), match="bug"):
        exit_with(raising(bug))

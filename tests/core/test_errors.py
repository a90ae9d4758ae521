"""Errors as lines: what is told, and how it fits on one line."""

from __future__ import annotations

import pickle

import pytest

from aligndiff.core.errors import InputError, one_line, printable


def test_a_problem_is_one_line() -> None:
    error = InputError("what:\n  where \n what to do")
    assert error.problems == ("what: where what to do",)
    assert str(InputError(["one", "two"])) == "one\ntwo"


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(InputError(["one", "two"])))
    assert isinstance(error, InputError)
    assert error.problems == ("one", "two")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('a photo of 猫, it\'s "ü"', 'a photo of 猫, it\'s "ü"'),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("caf\udce9", r"caf\udce9"),  # a Latin-1 file name, as Python reads it
    ],
)
def test_what_breaks_a_line_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown and len(shown.splitlines()) == 1


def test_lines_become_one_and_long_ones_lose_their_middle() -> None:
    assert one_line("what:\n  where \n what to do ") == "what: where what to do"
    line = one_line("begin " + "x" * 10**6 + " end")
    assert len(line) < 1010 and line.startswith("begin x") and line.endswith("x end")

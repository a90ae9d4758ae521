from __future__ import annotations

import pytest

from aligndiff.core.console import say, table, warn
from aligndiff.core.errors import one_line, printable


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


def test_the_console_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    say("folder a\nb")
    table("t", ("name", "made"), [("a\x1b[31m\nb", 1)])
    warn("failed: a\nb")
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        r"folder a\nb",
        "t",
        "  name          made",
        r"  a\x1b[31m\nb     1",
    ]
    assert err == "failed: a\\nb\n"

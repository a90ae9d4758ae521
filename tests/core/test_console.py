from __future__ import annotations

import io
import re
import sys

import pytest

from aligndiff.core import console
from tests.torchrun import torchrun_variables

ROWS = [["fish", 12, 0.5], ["red mushroom", 3, None]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALIGNDIFF_RANK", "ALIGNDIFF_WORLD_SIZE", "RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def test_a_table_is_plain_and_aligned_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("Masks", ["category", "agreed", "IoU"], ROWS)
    assert capsys.readouterr().out == (
        "Masks\n"
        "  category      agreed    IoU\n"
        "  fish              12  0.500\n"
        "  red mushroom       3      -\n"
    )


def test_a_table_is_framed_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    console.table("Masks", ["category", "agreed", "IoU"], ROWS)
    assert "red mushroom" in terminal.getvalue()
    assert "╭" in terminal.getvalue()


def test_text_in_brackets_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console.warn("error: [red]x[/red] [worker 0]")
    assert capsys.readouterr().err == "error: [red]x[/red] [worker 0]\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    console.table("T [x]", ["a [b]"], [["[bold]c"]])
    assert all(words in terminal.getvalue() for words in ("T [x]", "a [b]", "[bold]c"))


def test_progress_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("images", 3) as advance:
        advance()
        advance(2, status="fish 3")
    assert capsys.readouterr().err == ""


def test_progress_shows_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("images", 5, done=2) as advance:
        advance(1, status="fish 1")
        advance(2, status="fish [3]")
        console.warn("error: above the bar")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "images" in shown
    assert "5/5" in shown
    assert "fish [3]" in shown
    assert "error: above the bar" in shown


@pytest.mark.parametrize(
    ("variables", "speaks"),
    [
        ({"ALIGNDIFF_RANK": "0", "ALIGNDIFF_WORLD_SIZE": "2"}, False),  # the parent does so
        (torchrun_variables(0), True),
        (torchrun_variables(1), False),
    ],
)
def test_one_process_of_a_launch_speaks(
    variables: dict[str, str],
    speaks: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console.say("hello")
    console.table("T", ["a"], [[1]])
    assert capsys.readouterr().out == ("hello\nT\n  a\n  1\n" if speaks else "")

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from aligndiff.core import console
from tests.torchrun import torchrun_variables

ROOT = Path(__file__).parents[2]
ROWS = [["fish", 12, 0.5], ["red mushroom", 3, None]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALIGNDIFF_RANK", "ALIGNDIFF_WORLD_SIZE", "RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def test_a_table_is_plain_and_aligned_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("Masks", ["category", "chosen", "IoU"], ROWS)
    assert capsys.readouterr().out == (
        "Masks\n"
        "  category      chosen    IoU\n"
        "  fish              12  0.500\n"
        "  red mushroom       3      -\n"
    )


def test_a_table_is_framed_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    console.table("Masks", ["category", "chosen", "IoU"], ROWS)
    assert terminal.getvalue().splitlines()[1:] == [
        "╭──────────────┬────────┬───────╮",
        "│ category     │ chosen │   IoU │",
        "├──────────────┼────────┼───────┤",
        "│ fish         │     12 │ 0.500 │",
        "│ red mushroom │      3 │     - │",
        "╰──────────────┴────────┴───────╯",
    ]


def test_columns_of_wide_characters_stay_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("T", ["name", "n"], [["鱼", 1], ["fish", 2]])
    assert capsys.readouterr().out == "T\n  name  n\n  鱼    1\n  fish  2\n"


def test_text_in_brackets_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console.warn("error: [red]x[/red] [worker 0]")
    assert capsys.readouterr().err == "error: [red]x[/red] [worker 0]\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    console.table("T [x]", ["a [b]"], [["[bold]c"]])
    assert all(words in terminal.getvalue() for words in ("T [x]", "a [b]", "[bold]c"))


RUN = """
import logging, sys, time
from aligndiff.core import console
console._LINE_EVERY = 0.4
with console.progress("drawing", {"fish": 3, "[red] dog": 2}) as advance:
    advance(1, "fish")
    advance(2, "fish", status="loss 0.5")
    time.sleep(1.0)
    console.warn("failed: a dog")
    console.say("said")
    advance(1, "[red] dog")
"""


def on_a_terminal(code: str, columns: int = 120) -> str:
    """What a real pseudo-terminal of this width gets of stdout and stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = os.environ | {"TERM": "xterm", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    ):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux's word for the end
            while piece := os.read(ours, 4096):
                shown += piece
    os.close(ours)
    return shown.decode()


def screen(shown: str) -> list[str]:
    """The lines that stand on a terminal in the end: after a "\\r" a line is written over."""
    lines = []
    for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown).replace("\r\n", "\n").split("\n"):
        cells = ""
        for text in line.split("\r"):
            cells = text + cells[len(text) :]
        lines.append(cells.rstrip())
    return lines


LOGGED = 'console.quiet_libraries(); logging.getLogger("aligndiff.x").warning("failed: a dog")'


@pytest.mark.parametrize("warning", ['console.warn("failed: a dog")', LOGGED])
def test_a_bar_lives_on_a_terminal_and_lines_appear_above_it(warning: str) -> None:
    shown = on_a_terminal(RUN.replace('console.warn("failed: a dog")', warning))
    warned, told, bar, *rest = screen(shown)
    assert (warned, told, rest) == ("failed: a dog", "said", [""])
    assert re.fullmatch(
        r"drawing  80% █+[▏▎▍▌▋▊▉]? +4/5, .*it.*, .* left, fish 3/3 \(loss 0\.5\), \[red\] dog 1/2",
        bar,
    )
    assert "\x1b[36m" in shown, "the bar has its colour"
    assert len(re.findall(r"3/5, [^\r]*left", shown)) > 1, "it is kept fresh while nothing is done"


def test_a_narrow_terminal_cuts_the_bar_and_gets_no_frame_that_would_break() -> None:
    code = 'from aligndiff.core import console\nwith console.progress("b", {"c" * 99: 2}) as go:\n'
    code += '    go(1, "c" * 99)\nconsole.table("T", ["name"], [["n" * 38]])'
    bar, title, _, row, _ = screen(on_a_terminal(code, 40))
    assert len(bar) <= 40 and bar.startswith("b  50%")
    assert (title, row) == ("T", "  " + "n" * 38)
    assert screen(on_a_terminal(code, 60))[2] == "╭" + "─" * 40 + "╮"


def test_a_bar_is_a_line_now_and_then_in_a_pipe() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    *lines, last = done.stderr.splitlines()
    lines.remove("failed: a dog")
    assert 1 <= len(lines) <= 4, "two in a second, on a quiet machine"
    assert "3/5" in lines[0] and lines[0].endswith("left, fish 3/3 (loss 0.5)")
    assert re.fullmatch(
        r"drawing: 80% in 00:01, 4/5, .* left, fish 3/3 \(loss 0\.5\), \[red\] dog 1/2", last
    )
    assert done.stdout == "said\n"


def test_the_console_shows_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("folder a\nb")
    console.table("t", ("name", "made"), [("a\x1b[31m\nb", 1)])
    console.warn("failed: a\nb")
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        r"folder a\nb",
        "t",
        "  name          made",
        r"  a\x1b[31m\nb     1",
    ]
    assert err == "failed: a\\nb\n"


def test_what_the_library_logs_is_shown_once_as_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(2):  # a test, or a program, may run several commands
        console.quiet_libraries()
    logging.getLogger("aligndiff.refinement.refine").warning("failed: %s", "a\nb")
    assert capsys.readouterr().err == "failed: a\\nb\n"


def test_of_many_classes_those_at_work_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("drawing", {f"class {i}": 2 for i in range(9)}) as advance:
        for number in range(7):
            advance(2 if number < 2 else 1, f"class {number}")
    last = capsys.readouterr().err
    assert last.endswith("left, 2 of 9 classes, class 4 1/2, class 5 1/2, class 6 1/2\n")


def test_what_is_told_twice_counts_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that died and was started again does its last items once more."""
    with console.progress("drawing", {"fish": 3, "dog": 2}) as advance:
        advance(2, "fish")
        advance(2, "fish")
    assert "drawing: 60% in 00:00, 3/5, " in capsys.readouterr().err


def test_a_bar_of_nothing_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("drawing", {}) as advance:
        advance(0)
    with pytest.raises(ValueError), console.progress("drawing", {"fish": 3}, done=1):
        raise ValueError  # before anything was done
    assert capsys.readouterr().err == ""


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

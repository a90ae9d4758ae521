"""What the programs that measure share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.reporting import (
    Circumstances,
    Line,
    Report,
    Target,
    last_words,
    machine_name,
    markdown_table,
    verdict,
)


def test_markdown_table() -> None:
    told = markdown_table(("a", "b"), [("1", ""), ("2", "x")])
    assert told == "| a | b |\n| --- | --- |\n| 1 |  |\n| 2 | x |"


def test_machine_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Great Chip\n\n")
    assert " of Great Chip, " in machine_name(tmp_path / "cpuinfo")
    assert "core" in machine_name(tmp_path / "none")


def test_last_words_are_the_last_error_of_the_last_command(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("$ one\nerror: old\n$ two\nerror: new\nmore\n\n")
    assert last_words(log) == "error: new"
    log.write_text("$ two\nTraceback (most recent call last):\n  File\nValueError: bad\n")
    assert last_words(log) == "ValueError: bad"
    log.write_text("$ two\nKilled\n")
    assert last_words(log) == "Killed"
    log.write_text("$ two\n")
    assert last_words(log) == "it said nothing"


def test_a_report_is_printed_and_leaves_its_table_and_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        Line("a", "figure", 1.5, "s", 3, Target(1.0, "at most"), spread=(1.0, 2.0)),
        Line("a", "tried", 0.1, "s", 1, outcome="as it should", passed=True),
        Line("a", "told", None, "s", 0),
    ]
    columns = {"what": lambda line: line.what, "holds": lambda line: verdict(line, "-")}
    details = {"seed": 0}
    where = Circumstances("x --y", "2026-01-31", "abc", "1 core", {"torch": "2"}, details=details)
    report = Report("the toy", "toy", columns, where)
    report.write(tmp_path, lines, 1.25, more=[1])
    report.show(lines, 1.25)
    assert capsys.readouterr().out.splitlines() == [
        *("the toy", "  what    holds", "  figure  NO", "  tried   yes", "  told    -"),
        *("`x --y`; 2026-01-31; 1 core; torch 2; commit abc", "1 of 2 targets hold; 1.2 minutes"),
    ]
    assert (tmp_path / "toy.md").read_text().splitlines()[4:] == [
        *("| figure | NO |", "| tried | yes |", "| told | - |"),
        *("", "1 of 2 targets hold; 1.2 minutes."),
    ]
    told = json.loads((tmp_path / "toy.json").read_text())
    assert (told["seed"], told["more"], told["minutes"], told["commit"]) == (0, [1], 1.25, "abc")
    assert [line["holds"] for line in told["lines"]] == [False, True, None]
    assert told["lines"][0]["spread"] == [1.0, 2.0] and "details" not in told

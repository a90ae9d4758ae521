"""What the programs that measure share."""

from __future__ import annotations

from pathlib import Path

from scripts.reporting import last_words, machine_name, markdown_table


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

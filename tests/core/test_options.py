"""One grammar of ranges in help and errors, and configs from a command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

from aligndiff.core.errors import InputError
from aligndiff.core.options import (
    CommandLine,
    Options,
    Range,
    add_config_options,
    choose_command,
    option,
    parse,
)

SHAPES = {"disc": 1, "star": 2}  # a table that others may add a line to


@dataclass(frozen=True)
class Drawing(Options):
    """Options of every kind."""

    folder: Path = option(help="where pictures go")
    count: int = option(3, "pictures", 1, 16)
    least: int | None = option(None, "at least so many", 0, shown_default="as many as fit")
    share: float = option(0.5, "share of 100 %", above=0, below=1)
    rate: float = option(5e-4, "how fast", high=10, above=0)
    side: tuple[int, ...] = option(
        (), "side", 64, 4096, multiple_of=8, unit="px", shown_default="the model's"
    )
    colours: tuple[str, ...] = option(("red", "green"), "what with")
    image_format: Literal["jpg", "png"] = option("jpg", "of the files")
    shape: str = option("disc", "what of", choices=SHAPES)
    quick: bool = option(False, "draw it fast")

    def contradictions(self) -> list[str]:
        return ["--quick: draws no more than 9"] if self.quick and self.count > 9 else []


@dataclass(frozen=True)
class Frame(Options):
    """A second heading."""

    width: int = option(1, "of the frame", 0, 64, unit="px")


def line(*argv: str) -> CommandLine:
    return parse("draw", "Draws.", "", {"drawing": Drawing, "frame": Frame}, argv)


def drawing(*argv: str, defaults: object = None) -> Drawing:
    return line("--folder", "out", *argv).config(Drawing, defaults)


def problems(*argv: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as error:
        drawing(*argv)
    return error.value.problems


@pytest.mark.parametrize(
    ("limits", "text", "inside", "outside"),
    [
        (Range(1, 16), "1 to 16", (1, 16), (0, 17)),
        (Range(0.0, 1.0), "0 to 1", (0.0, 0.5, 1), (-0.01, 1.01)),
        (Range(1), "1 or more", (1, 10**400), (0,)),
        (Range(0, 10, open_low=True), "above 0, at most 10", (1e-9, 10), (0, 10.1)),
        (Range(0, 1, open_low=True, open_high=True), "above 0, below 1", (0.5,), (0, 1)),
        (Range(0, open_low=True), "above 0", (1e9,), (0, -1)),
        (Range(0, 1, open_high=True), "0 to below 1", (0, 0.999), (1, -0.1)),
        (Range(1, 10**6), "1 to 1000000", (10**6,), (10**6 + 1, 10**400)),
        (
            Range(64, 4096, multiple_of=8, unit="px"),
            "a multiple of 8 from 64 to 4096 px",
            (64, 72, 4096),
            (56, 65, 4104),
        ),
    ],
)
def test_a_range_says_what_it_holds(
    limits: Range, text: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert str(limits) == text
    assert all(value in limits for value in inside)
    for value in (*outside, float("nan"), float("inf"), float("-inf")):
        assert value not in limits


def help_of(name: str) -> str | None:
    parser = argparse.ArgumentParser()
    add_config_options(parser, Drawing, "drawing")
    return {action.dest: action.help for action in parser._actions}[name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("folder", "where pictures go"),
        ("count", "pictures (1 to 16; default: 3)"),
        ("least", "at least so many (0 or more; default: as many as fit)"),
        ("share", "share of 100 %% (above 0, below 1; default: 0.5)"),
        ("rate", "how fast (above 0, at most 10; default: 0.0005)"),
        ("side", "side (a multiple of 8 from 64 to 4096 px; default: the model's)"),
        ("colours", "what with (default: red green)"),
        ("image_format", "of the files (default: jpg)"),
        ("quick", "draw it fast"),
    ],
)
def test_help_tells_range_unit_and_default(name: str, text: str) -> None:
    assert help_of(name) == text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--count 17", "--count: must be 1 to 16, is 17"),
        ("--least -1", "--least: must be 0 or more, is -1"),
        ("--share 1", "--share: must be above 0, below 1, is 1"),
        ("--rate 0", "--rate: must be above 0, at most 10, is 0"),
        ("--side 64 65", "--side: must be a multiple of 8 from 64 to 4096 px, is 65"),
    ],
)
def test_errors_have_the_grammar_of_help(words: str, problem: str) -> None:
    assert problems(*words.split()) == (problem,)
    name, limits = problem[2:].split(": must be ")
    assert f"({limits.rsplit(', is ', 1)[0]}; default" in str(help_of(name)).replace("%%", "%")


def test_all_problems_are_told_at_once_those_of_other_headings_too() -> None:
    assert problems("--count", "0", "--side", "8", "12", "--width", "65") == (
        "--count: must be 1 to 16, is 0",
        "--side: must be a multiple of 8 from 64 to 4096 px, is 8",
        "--side: must be a multiple of 8 from 64 to 4096 px, is 12",
        "--width: must be 0 to 64 px, is 65",
    )


def test_a_config_built_in_python_is_checked_alike() -> None:
    with pytest.raises(InputError) as error:
        Drawing(Path(), count=17, image_format="gif", shape="cube", quick=True)  # type: ignore[arg-type]
    assert error.value.problems == (
        "--count: must be 1 to 16, is 17",
        "--image_format: must be one of jpg, png, is gif",
        "--shape: must be one of disc, star, is cube",
        "--quick: draws no more than 9",
    )


def test_what_contradicts_itself_is_told_when_the_config_is_built() -> None:
    assert problems("--quick", "--count", "12") == ("--quick: draws no more than 9",)
    assert drawing("--quick").quick


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("--image_format gif", "argument --image_format: invalid choice: 'gif' .*jpg.*png"),
        ("--shape cube", "argument --shape: invalid choice: 'cube' .*disc.*star"),
        ("--count three", "argument --count: must be a whole number, not 'three'"),
        ("--count 2.5", "argument --count: must be a whole number, not '2.5'"),
        (f"--least {2**63}", f"argument --least: must be a number of at most 63 bits, not {2**63}"),
        ("--rate nan", "argument --rate: must be a finite number, not 'nan'"),
        ("--cuont 3", "unknown argument --cuont, did you mean --count"),
        ("--coun 3", "unknown argument --coun, did you mean --count"),  # nothing is abbreviated
    ],
)
def test_what_is_no_value_at_all(words: str, problem: str) -> None:
    (said,) = problems(*words.split())
    assert said.endswith("(see --help)")
    with pytest.raises(InputError, match=problem):
        drawing(*words.split())


def test_a_required_option_is_missed() -> None:
    with pytest.raises(InputError, match="required: --folder"):
        line()


def test_a_line_that_joins_the_table_later_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "cube", 3)
    assert drawing("--shape", "cube").shape == "cube"


def test_what_was_typed_comes_before_the_defaults_of_the_file() -> None:
    stored = SimpleNamespace(count=7, share=None, image_format="png", other=1)
    config = drawing("--image_format", "jpg", "--side", "64", "128", defaults=stored)
    assert (config.count, config.share, config.image_format) == (7, 0.5, "jpg")
    assert config.side == (64, 128) and config.folder == Path("out")
    assert drawing() == Drawing(Path("out"))


def test_defaults_of_the_file_are_checked_as_well() -> None:
    with pytest.raises(InputError, match="--count: must be 1 to 16, is 70"):
        drawing(defaults=SimpleNamespace(count=70))


def test_a_default_that_was_typed_counts_as_typed() -> None:
    typed = line("--folder", "out", "--count", "3")
    assert typed.typed("count") and not typed.typed("least")
    assert typed.config(Drawing, SimpleNamespace(count=7)).count == 3
    assert typed.argv == ("--folder", "out", "--count", "3")
    assert typed.config(Frame).width == 1


COMMANDS = {"masks": "Score 100 % of the masks.", "benchmark": "Run a benchmark."}


def test_a_command_and_its_words() -> None:
    chosen = choose_command("evaluate", "Scores.", COMMANDS, ["masks", "--help", "masks"])
    assert chosen == ("masks", ["--help", "masks"])


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["mask"], "evaluate: unknown command mask, did you mean masks?"),
        (["zzz"], "evaluate: unknown command zzz; there are masks, benchmark"),
        ([], "evaluate: which of masks, benchmark? (see --help)"),
        (["--mask"], "unknown argument --mask (see --help)"),
        (["--", "masks"], "unknown argument -- (see --help)"),
    ],
)
def test_a_slip_of_the_pen_in_a_command(argv: list[str], problem: str) -> None:
    with pytest.raises(InputError) as error:
        choose_command("evaluate", "Scores.", COMMANDS, argv)
    assert error.value.problems == (problem,)


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        choose_command("evaluate", "Scores.", COMMANDS, ["--help"])
    told = capsys.readouterr().out
    assert end.value.code == 0 and told.startswith("usage: evaluate [-h] COMMAND")
    assert "Scores." in told
    listed = " ".join(told.split())
    assert listed.endswith(" ".join(f"{name} {text}" for name, text in COMMANDS.items()))


def test_a_home_that_the_shell_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Places(Options):
        dataset_dir: Path = option(help="where")

    monkeypatch.setenv("HOME", "/home/me")
    line = parse("prog", "", "", {"places": Places}, ["--dataset_dir=~/one"])
    assert line.config(Places).dataset_dir == Path("/home/me/one")


def test_a_word_beside_numbers_is_read_as_none() -> None:
    @dataclass(frozen=True)
    class Weights(Options):
        weight: tuple[float | None, ...] = option((0.6,), "how much", 0, 10, word="auto")

    def read(*words: str) -> tuple[float | None, ...]:
        return parse("prog", "", "", {"weights": Weights}, words).config(Weights).weight

    assert read() == (0.6,) and read("--weight", "1", "2") == (1.0, 2.0)
    assert read("--weight", "auto") == (None,)
    with pytest.raises(InputError, match=r"must be a finite number, not 'x' \(or auto\)"):
        read("--weight", "x")
    with pytest.raises(InputError, match="must be 0 to 10, is 11"):
        read("--weight", "11")

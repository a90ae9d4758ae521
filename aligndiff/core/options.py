"""Command line options built from dataclasses.

A field of a config dataclass becomes one option: its name, type and default are the option's.
`option` holds the rest: help, range and unit, from which help, check and error text are made, so
that each is written once.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union

from aligndiff.core.errors import InputError
from aligndiff.core.files import typed_path

MAX_BATCH = 1024  # no machine holds more
MAX_DENOISING_STEPS = 1000  # what diffusion models are trained on
MAX_GUIDANCE = 100
MAX_VECTORS = 16  # of an embedding; each takes one of the prompt's 77 tokens
MAX_SHARD = 100_000  # samples in a tar file: 15 GB of 512 px
MAX_SEED = 2**63 - 1

Config = TypeVar("Config")
METAVARS = {int: "N", float: "X", Path: "PATH"}


@dataclass(frozen=True)
class Range:
    """The values that an option takes: `low` to `high`, or without its ends where they are open."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    multiple_of: int = 1
    unit: str = ""

    def __contains__(self, value: float) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if self.low is not None and (value <= self.low if self.open_low else value < self.low):
            return False
        if self.high is not None and (value >= self.high if self.open_high else value > self.high):
            return False
        return self.multiple_of == 1 or value % self.multiple_of == 0

    def __str__(self) -> str:
        """ "1 to 16", "above 0, at most 10", "a multiple of 8 from 64 to 4096 px"."""
        if self.open_low:
            text = f"above {_plain(self.low)}"
            text += "" if self.high is None else f", {self._end} {_plain(self.high)}"
        elif self.open_high:
            text = f"{_plain(self.low)} to below {_plain(self.high)}"
        elif self.high is None:
            text = f"{_plain(self.low)} or more"
        else:
            text = f"{_plain(self.low)} to {_plain(self.high)}"
        if self.multiple_of > 1:
            text = f"a multiple of {self.multiple_of} from {text}"
        return f"{text} {self.unit}".rstrip()

    @property
    def _end(self) -> str:
        return "below" if self.open_high else "at most"


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",  # noqa: A002 - argparse's word
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    multiple_of: int = 1,
    unit: str = "",
    shown_default: str = "",
    choices: Collection[str] = (),
    metavar: str = "",
    group: str | None = None,
    exclusive: str | None = None,
    repeated: bool = False,
    word: str = "",
) -> Any:
    """A field of a config dataclass that is an option.

    `low` and `high` belong to the range, `above` and `below` do not; `unit` is theirs. Each number
    of a tuple must lie in it; None is always allowed. `shown_default` says in help what a default
    of None stands for. `choices` are the words that it takes, where no Literal names them; of a
    table its names, those that join it later too. `metavar` is what help calls a value, where its
    type is no good name. `group` is the heading in help; options that share `exclusive` exclude
    each other. Of a `repeated` one the values add up, where otherwise the last mention counts.
    `word` is one that it takes beside numbers, such as "auto"; it is read as None.
    """
    limits = None
    if not (low is None and high is None and above is None and below is None):
        limits = Range(
            above if low is None else low,
            below if high is None else high,
            above is not None,
            below is not None,
            multiple_of,
            unit,
        )
    metadata = {
        "help": help,
        "range": limits,
        "shown_default": shown_default,
        "choices": choices,
        "metavar": metavar,
        "group": group,
        "exclusive": exclusive,
        "repeated": repeated,
        "word": word,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Options:
    """A config dataclass that checks itself when it is built, from typed words or in Python."""

    def __post_init__(self) -> None:
        """Raise one InputError with every value out of its range, and every contradiction."""
        if problems := [*range_problems(type(self), vars(self)), *self.contradictions()]:
            raise InputError(problems)

    def contradictions(self) -> list[str]:
        """What several options say together and cannot; a line for each."""
        return []


def is_interval(values: Sequence[float]) -> bool:
    """Whether these are two numbers, the lower one first."""
    return len(values) == 2 and values[0] < values[1]


def range_problems(config: type, values: Mapping[str, Any]) -> list[str]:
    """A line for every one of `values` that its option in `config` does not take."""
    hints = typing.get_type_hints(config)
    problems = []
    for item in dataclasses.fields(config):
        value = values.get(item.name)
        limits: Range | None = item.metadata.get("range")
        several = value if isinstance(value, tuple | list) else (value,)
        for single in several:
            if single is None:
                continue
            if limits is not None and single not in limits:
                problems.append(f"--{item.name}: must be {limits}, is {_plain(single)}")
            choices = _choices(item, hints[item.name])
            if choices and single not in choices:
                names = ", ".join(choices)
                problems.append(f"--{item.name}: must be one of {names}, is {single}")
    return problems


@dataclass(frozen=True)
class CommandLine:
    """What was typed, parsed once; the config dataclasses are built from it."""

    argv: tuple[str, ...]
    values: argparse.Namespace  # an option that was not typed is absent

    def typed(self, name: str) -> bool:
        return hasattr(self.values, name)

    def config(self, kind: type[Config], defaults: object = None) -> Config:
        """`kind` from what was typed, else from the fields of `defaults` of the same name.

        What neither has (None in `defaults`) is the dataclass's own. Raises InputError as it does.
        """
        values: dict[str, Any] = {}
        for item in dataclasses.fields(kind):  # type: ignore[arg-type]
            if hasattr(self.values, item.name):
                typed = getattr(self.values, item.name)
                values[item.name] = tuple(typed) if isinstance(typed, list) else typed
            elif (default := getattr(defaults, item.name, None)) is not None:
                values[item.name] = default
        return kind(**values)


def parse(
    prog: str, description: str, epilog: str, options: Mapping[str, type], argv: Sequence[str]
) -> CommandLine:
    """Parse the command line of a command; `options` are its config dataclasses by their heading.

    Raises InputError for an unknown option, and one for all that are out of their range.
    """
    parser = OneLineParser(prog=prog, description=description, epilog=epilog, allow_abbrev=False)
    for title, config in options.items():
        add_config_options(parser, config, title)
    values = parser.parse_args(list(argv))
    check_ranges(options.values(), values)
    return CommandLine(tuple(argv), values)


def choose_command(
    prog: str, description: str, commands: Mapping[str, str], argv: Sequence[str]
) -> tuple[str, list[str]]:
    """The sub-command that `argv` begins with, and the rest; `commands` say what each one does.

    --help prints them and exits. Raises InputError for another word, or none.
    """
    parser = OneLineParser(prog=prog, description=description, allow_abbrev=False)
    listed = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, text in commands.items():
        listed.add_parser(name, help=text.replace("%", "%%"), add_help=False)
    names = ", ".join(commands)
    if not argv:
        raise InputError(f"{prog}: which of {names}? (see --help)")
    if argv[0] not in commands and not argv[0].startswith("-"):
        close = difflib.get_close_matches(argv[0], commands, n=1)
        hint = f", did you mean {close[0]}?" if close else f"; there are {names}"
        raise InputError(f"{prog}: unknown command {argv[0]}{hint}")
    if argv[0] not in commands:
        parser.parse_args(argv[:1])
    return argv[0], list(argv[1:])


def check_ranges(configs: Iterable[type], values: argparse.Namespace) -> None:
    """Raise one InputError with every typed value that is out of its range."""
    if problems := [text for kind in configs for text in range_problems(kind, vars(values))]:
        raise InputError(problems)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are InputErrors: one line each, told like every other mistake."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see --help)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [flag for flag in self._option_string_actions if flag.startswith("--")]
            self.error("; ".join(_unknown_argument(word, known) for word in unknown))
        return parsed


def add_config_options(parser: argparse.ArgumentParser, config: type, group: str) -> None:
    """Add one option per field of the dataclass `config` under the heading `group`.

    A field's own group wins over `group`. No default enters the namespace: an option that was not
    typed is absent, so that `CommandLine.config` can tell.
    """
    hints = typing.get_type_hints(config)
    groups: dict[str, Any] = {}
    exclusive: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        title = item.metadata.get("group") or group
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        target = groups[title]
        if rival := item.metadata.get("exclusive"):
            if rival not in exclusive:
                exclusive[rival] = target.add_mutually_exclusive_group()
            target = exclusive[rival]
        target.add_argument(f"--{item.name}", **_argument(item, hints[item.name]))


def _argument(item: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """The keyword arguments of `add_argument` for one field."""
    required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    argument: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(item)}
    if required:
        argument["required"] = True
    kind = _plain_type(hint)
    if kind is bool:
        return argument | {"action": "store_true"}
    if typing.get_origin(kind) is tuple:
        argument["nargs"] = "+"
        if item.metadata.get("repeated"):
            argument["action"] = "extend"
        kind = _plain_type(typing.get_args(kind)[0])
    if choices := _choices(item, hint):
        return argument | {"choices": choices}
    read = {int: _whole_number, float: _number, Path: typed_path}.get(kind, kind)
    if word := item.metadata.get("word"):
        read = partial(_number_or_word, word=word)
    metavar = item.metadata.get("metavar") or METAVARS.get(kind, "NAME")
    return argument | {"type": read, "metavar": metavar}


def _whole_number(word: str) -> int:
    try:
        number = int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {word!r}") from None
    if abs(number) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be a number of at most 63 bits, not {word}")
    return number


def _number(word: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(number := float(word)):
            return number
    raise argparse.ArgumentTypeError(f"must be a finite number, not {word!r}")


def _number_or_word(typed: str, word: str) -> float | None:
    if typed == word:
        return None
    try:
        return _number(typed)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error} (or {word})") from None


def _plain_type(hint: Any) -> Any:
    """`X` for `X | None`, every other hint unchanged."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


def _choices(item: dataclasses.Field[Any], hint: Any) -> tuple[str, ...]:
    """The words that an option takes; empty where it takes any."""
    kind = _element_type(hint)
    named = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    return named or tuple(item.metadata.get("choices", ()))


def _element_type(hint: Any) -> Any:
    """The type of one value: `X` for `X`, `X | None` and `tuple[X, ...]`."""
    kind = _plain_type(hint)
    return _plain_type(typing.get_args(kind)[0]) if typing.get_origin(kind) is tuple else kind


def _help(item: dataclasses.Field[Any]) -> str:
    """The help of an option, with range and default in brackets: "(1 to 16; default: 3)"."""
    limits, value = item.metadata.get("range"), item.default
    notes = [] if limits is None else [str(limits)]
    if shown := item.metadata.get("shown_default"):
        notes.append(f"default: {shown}")
    elif not (value is dataclasses.MISSING or value is None or value is False or value == ()):
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        notes.append(f"default: {text}")
    brackets = f" ({'; '.join(notes)})" if notes else ""
    return (item.metadata["help"] + brackets).replace("%", "%%")


def _plain(value: object) -> str:
    """A number as it is typed: 1000000, 0.5."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _unknown_argument(word: str, known: Sequence[str]) -> str:
    if not word.strip():
        return "an argument of spaces alone: a \\ that continues a line must be its last character"
    close = difflib.get_close_matches(word.split("=")[0], known, n=1)
    return f"unknown argument {word}" + (f", did you mean {close[0]}?" if close else "")

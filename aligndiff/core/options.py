"""Command line options built from dataclasses.

A field of a config dataclass becomes one option: its name, type and default are the option's, and
`metadata={"help": ...}` is its help (with unit and range). Fields that share a
`metadata={"exclusive": name}` exclude each other on the command line.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union

from aligndiff.core.errors import InputError

MOST_IN_A_BATCH = 1024  # no machine holds more
MOST_DENOISING_STEPS = 1000  # what diffusion models are trained on
MOST_GUIDANCE = 100
MOST_VECTORS = 16  # rows of an embedding; each takes one of the prompt's 77 tokens
MOST_IN_A_SHARD = 100_000  # samples in a tar file: 15 GB of 512 px

Config = TypeVar("Config")
METAVARS = {int: "N", float: "X", Path: "PATH"}


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


def add_config_options(
    parser: argparse.ArgumentParser, config: type, group: str, *, optional: bool = False
) -> None:
    """Add one option per field of the dataclass `config` under the heading `group`.

    A field's own `metadata={"group": ...}` wins over `group`. No default enters the namespace:
    an option that was not typed is absent, so that `config_from_args` can tell. `optional`: not
    even those without a default must be typed, as in a script of which `config` is one use.
    """
    hints = typing.get_type_hints(config)
    groups: dict[str, Any] = {}
    exclusive: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        title = item.metadata.get("group", group)
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        target = groups[title]
        if rival := item.metadata.get("exclusive"):
            if rival not in exclusive:
                exclusive[rival] = target.add_mutually_exclusive_group()
            target = exclusive[rival]
        argument = _argument(item, hints[item.name])
        if optional:
            argument.pop("required", None)
        target.add_argument(f"--{item.name}", **argument)


def config_from_args(config: type[Config], args: argparse.Namespace, **fallbacks: Any) -> Config:
    """Build `config` from what was typed, else from `fallbacks` that are not None, else defaults.

    Raises InputError where the dataclass's own checks (`__post_init__`) refuse a value.
    """
    values = {name: value for name, value in fallbacks.items() if value is not None}
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        if hasattr(args, item.name):
            typed = getattr(args, item.name)
            values[item.name] = tuple(typed) if isinstance(typed, list) else typed
    try:
        return config(**values)
    except ValueError as error:
        raise InputError(str(error)) from error


def _argument(item: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    """The keyword arguments of `add_argument` for one field."""
    required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    argument: dict[str, Any] = {"default": argparse.SUPPRESS, "help": item.metadata["help"]}
    argument["help"] = argument["help"].replace("%", "%%") + _default_note(item)
    if required:
        argument["required"] = True
    kind = _plain_type(hint)
    if kind is bool:
        return argument | {"action": "store_true"}
    if typing.get_origin(kind) is tuple:
        argument["nargs"] = "+"
        kind = _plain_type(typing.get_args(kind)[0])
    if typing.get_origin(kind) is Literal:
        return argument | {"choices": typing.get_args(kind)}
    read = {int: _whole_number, float: _number}.get(kind, kind)
    return argument | {"type": read, "metavar": METAVARS.get(kind, "NAME")}


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


def _plain_type(hint: Any) -> Any:
    """`X` for `X | None`, every other hint unchanged."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


def _default_note(item: dataclasses.Field[Any]) -> str:
    """The default in brackets, unless there is none to tell or the help tells it already."""
    value = item.default
    if value is dataclasses.MISSING or value is None or value is False or value == ():
        return ""
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f" (default: {shown})"


def _unknown_argument(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.split("=")[0], known, n=1)
    return f"unknown argument {word}" + (f", did you mean {close[0]}?" if close else "")

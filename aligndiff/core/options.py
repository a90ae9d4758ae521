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
import functools
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union

from aligndiff.core.device import PRECISION_HELP
from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.core.ranks import is_worker, launched_share
from aligndiff.dataset.bank_checks import CountTokens, parse_defaults
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.prompt_bank import rooted_defaults

Config = TypeVar("Config")
MOST_WORKERS = 64  # processes on one machine; none has more GPUs
MOST_RETRIES = 100
METAVARS = {int: "N", float: "X", Path: "PATH"}


@dataclass(frozen=True)
class RunOptions:
    """What every script takes: where the data are, and how to run."""

    dataset_dir: Path = field(metadata={"help": "folder that holds dataset.json"})
    categories: tuple[str, ...] = field(
        default=(), metadata={"help": "work on these categories only (default: all of them)"}
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        default="auto", metadata={"help": "where to compute; auto takes a GPU if there is one"}
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = field(
        default="auto",
        metadata={"help": PRECISION_HELP},
    )
    workers: int = field(
        default=0,
        metadata={"help": "processes to start, up to 64; 0 is one per visible GPU, or just one"},
    )
    launcher: Literal["auto", "ray"] = field(
        default="auto",
        metadata={
            "help": "auto: this command itself, or torchrun or srun where they start it; ray: an "
            "actor for each GPU of a Ray cluster"
        },
    )
    ray_address: str | None = field(
        default=None,
        metadata={"help": "host:port of the Ray cluster (default: the one this machine is in)"},
    )
    retries: int = field(
        default=1,
        metadata={"help": "times that a process which died is started again, 0 to 100"},
    )
    overwrite: bool = field(
        default=False,
        metadata={"help": "make again what exists; leave it out to continue"},
    )
    no_sheet: bool = field(
        default=False, metadata={"help": "do not write the contact sheet at the end"}
    )

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.workers <= MOST_WORKERS:
            problems.append(f"--workers must be from 0 to {MOST_WORKERS}, not {self.workers}")
        if not 0 <= self.retries <= MOST_RETRIES:
            problems.append(f"--retries must be from 0 to {MOST_RETRIES}, not {self.retries}")
        if self.ray_address is not None and self.launcher != "ray":
            problems.append("--ray_address needs --launcher ray; add that, or leave it out")
        if launched_share() is not None and not is_worker():
            started = "torchrun or srun has started the processes already; leave one of the two out"
            problems += [f"--launcher ray: {started}"] * (self.launcher == "ray")
            problems += [f"--workers {self.workers}: {started}"] * (self.workers > 0)
        if self.device == "cpu" and self.precision == "float16":
            problems.append(
                "--precision float16 needs a GPU and --device says cpu; use float32 or bfloat16"
            )
        if problems:
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


def make_parser(module: str, description: str, epilog: str | None = None) -> OneLineParser:
    """A parser for `python -m <module>` that already has the options of RunOptions."""
    parser = OneLineParser(
        prog=f"python -m {module}", description=description, epilog=epilog, allow_abbrev=False
    )
    add_config_options(parser, RunOptions, "run")
    return parser


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


def add_diffusion_model_option(parser: argparse.ArgumentParser) -> None:
    """--diffusion_model, the same words in every script that draws images."""
    parser.add_argument_group("model").add_argument(
        "--diffusion_model",
        metavar="MODEL",
        help="'tiny', a diffusers folder, or a hub name (default: the one of dataset.json, "
        "else stable-diffusion-v1-5/stable-diffusion-v1-5)",
    )


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


def token_counter(dataset_dir: Path, diffusion_model: str | None) -> CountTokens:
    """Count the tokens of a prompt as the run's model does; its tokenizer is loaded when asked.

    `diffusion_model` is the flag; without one the prompt bank's own default counts, which is read
    here because the bank is not checked yet when its prompts are.
    """

    @functools.cache
    def tokenizer() -> Any:
        from aligndiff.diffusion.weights import load_tokenizer, resolve_diffusion_model

        said = parse_defaults(read_json(dataset_dir / DATASET_FILE).get("defaults", {}))[0]
        default = rooted_defaults(dataset_dir, said).diffusion_model
        return load_tokenizer(resolve_diffusion_model(diffusion_model, default))

    return lambda prompt: len(tokenizer()(prompt).input_ids)


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

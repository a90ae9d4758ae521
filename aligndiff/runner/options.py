"""The options that every step takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aligndiff.core.device import PRECISION_HELP
from aligndiff.core.errors import InputError
from aligndiff.core.options import OneLineParser, add_config_options
from aligndiff.core.ranks import check_launcher, is_worker, launched_share

MOST_WORKERS = 64  # processes on one machine; none has more GPUs
MOST_RETRIES = 100


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
        check_launcher()
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


def make_parser(module: str, description: str, epilog: str | None = None) -> OneLineParser:
    """A parser for `python -m <module>` that already has the options of RunOptions."""
    parser = OneLineParser(
        prog=f"python -m {module}", description=description, epilog=epilog, allow_abbrev=False
    )
    add_config_options(parser, RunOptions, "run")
    return parser

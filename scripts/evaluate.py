"""Score masks against truth, a few-shot segmenter on a benchmark, or what synthetic support adds.

Say which by --predicted, --benchmark or --synthetic; docs/EVALUATE.md explains all three.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from aligndiff.core.console import quiet_libraries
from aligndiff.core.errors import InputError
from aligndiff.core.exits import exit_with
from aligndiff.core.options import OneLineParser, add_config_options, config_from_args
from aligndiff.evaluation.config import (
    BenchmarkConfig,
    EvaluationRun,
    GainConfig,
    MasksConfig,
)
from aligndiff.evaluation.run import compare_masks, compare_support, run_benchmark

MODULE = "scripts.evaluate"
EPILOG = "Every run writes its figures as JSON into --output_dir and replaces those of the last."


@dataclass(frozen=True)
class Use:
    """One of the three uses of the script."""

    config: type
    title: str
    run: Callable[[Any, EvaluationRun], None]


# By the option that chooses each.
USES = {
    "predicted": Use(MasksConfig, "masks against truth", compare_masks),
    "benchmark": Use(BenchmarkConfig, "a few-shot segmenter on a benchmark", run_benchmark),
    "synthetic": Use(GainConfig, "did synthetic support help?", compare_support),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, evaluate, report; returns the exit code."""
    parser = OneLineParser(
        prog=f"python -m {MODULE}", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    for use in USES.values():
        add_config_options(parser, use.config, use.title, optional=True)
    add_config_options(parser, EvaluationRun, "run")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    use = USES[_chosen_use(args)]
    config, run = config_from_args(use.config, args), config_from_args(EvaluationRun, args)
    quiet_libraries()
    use.run(config, run)
    return 0


def _chosen_use(args: Namespace) -> str:
    """What was asked for. InputError when it is nothing or several things, or half of one."""
    chosen = [name for name in USES if hasattr(args, name)]
    if len(chosen) != 1:
        said = " and ".join(f"--{name}" for name in chosen) or "none of them"
        raise InputError(f"give one of --predicted, --benchmark and --synthetic, not {said}")
    problems = []
    for name, use in USES.items():
        for item in fields(use.config):
            typed, required = hasattr(args, item.name), item.default is MISSING
            if name == chosen[0] and required and not typed:
                problems.append(f"--{name} needs --{item.name}: {item.metadata['help']}")
            if name != chosen[0] and typed:
                problems.append(f"--{item.name} goes with --{name}, not with --{chosen[0]}")
    if chosen == ["predicted"]:  # nothing is segmented
        problems += [
            f"--{item.name} is for a segmenter, and --predicted has none; leave it out"
            for item in fields(EvaluationRun)
            if hasattr(args, item.name) and item.name != "output_dir"
        ]
    if problems:
        raise InputError(problems)
    return chosen[0]


if __name__ == "__main__":
    exit_with(main)

"""A step of a few lines, to see what the driver does: a file for each unit of work.

`python -m tests.runner.toy_step toy ...` stands in for `python -m aligndiff <step> ...`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.console import progress, say
from aligndiff.core.exits import exit_with
from aligndiff.core.options import CommandLine, Options, option
from aligndiff.core.ranks import launched_share
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.runner.local import read_assignment
from aligndiff.runner.options import RunOptions
from aligndiff.runner.step import Step, check_device, run_step, totals_by_class

UNITS = 3  # of each entry


@dataclass(frozen=True)
class ToyOptions(Options):
    """Two settings that dataset.json may have a default for, and one that it has not."""

    num_inference_steps: int = option(50, "steps", 1, 1000)
    guidance_scale: float = option(7.5, "guidance", 0, 100)
    fails: int = option(-1, "the unit that fails", -1)


class Toy:
    """Unit `number` is a file of that name, which says who made it and with which settings."""

    def __init__(self, run: RunOptions, config: ToyOptions, bank: PromptBank) -> None:
        self.run, self.config, self.root = run, config, bank.root
        self.units = [
            (self.root / "toy" / f"{UNITS * place + number}.json", entry.category)
            for place, entry in enumerate(bank.entries)
            for number in range(UNITS)
        ]
        self.outputs = [self.units[0][0]]
        self.weights_line = "weights: of no matter"

    def weight(self, unit: tuple[Path, str]) -> int:
        return 1

    def category(self, unit: tuple[Path, str]) -> str:
        return unit[1]

    def survey(
        self, numbers: Sequence[int], reported: Sequence[int]
    ) -> tuple[list[int], dict[str, list[int]]]:
        there = [number for number in numbers if self.units[number][0].exists()]
        missing = [number for number in numbers if self.run.overwrite or number not in there]
        return missing, {"kept": there}

    def make_room(self) -> None:
        check_device(self.run)
        for path, _ in self.units if self.run.overwrite else ():
            path.unlink(missing_ok=True)

    def do(self, units: Sequence[tuple[Path, str]]) -> None:
        share = launched_share()
        made_by = {
            "rank": None if share is None else share.rank,
            "assigned": read_assignment().units,
            "precision": self.run.precision,
            "steps": self.config.num_inference_steps,
            "guidance": self.config.guidance_scale,
        }
        with progress("toying", totals_by_class(self, units)) as advance:
            for path, category in units:
                if int(path.stem) != self.config.fails:
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(json.dumps(made_by))
                advance(1, category)

    def finish(self, numbers: Sequence[int]) -> int:
        return 0

    def report(self, title: str, numbers: Sequence[int], messages: Sequence[Any]) -> int:
        failed = [number for number in numbers if not self.units[number][0].exists()]
        say(f"{title}: {len(numbers)} units, {len(failed)} failed, told {list(messages)}")
        return min(len(failed), 1)


def _plan(line: CommandLine, run: RunOptions, bank: PromptBank) -> Toy:
    return Toy(run, line.config(ToyOptions, bank.defaults), bank)


STEP = Step(
    name="toy",
    module=__name__,
    description="A toy.",
    epilog="It does nothing.",
    options={"toy": ToyOptions},
    activity="toying",
    product="toys",
    plan=_plan,
    nothing_to_do=lambda bank: None if bank.objects else "nothing to do: no object",
)


def main(argv: Sequence[str]) -> int:
    return run_step(STEP, argv)


def made(root: Path) -> dict[int, dict[str, Any]]:
    """What each unit's file says, by its number."""
    return {int(path.stem): json.loads(path.read_text()) for path in (root / "toy").glob("*.json")}


if __name__ == "__main__":
    assert sys.argv[1] == STEP.name and "aligndiff" not in os.path.basename(sys.argv[0])
    exit_with(lambda: main(sys.argv[2:]))

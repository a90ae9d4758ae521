"""The datasets that drills start from and are held against: made once, by runs left in peace."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aligndiff.core.errors import AlignDiffError
from aligndiff.core.files import read_json, write_json
from aligndiff.dataset.layout import DATASET_FILE
from scripts.drill.config import DrillConfig
from scripts.drill.processes import POLL, Command, Ended
from scripts.drill.snapshots import Watch, differences, tree
from scripts.example import (
    COMPOSITION,
    EXAMPLE,
    INVERSION,
    REFINEMENT,
    SYNTHESIS,
    copy_example,
)
from scripts.reporting import without_bars

# Each small enough for seconds, large enough for a middle that one can hit.
STEPS: dict[int, tuple[str, str]] = {
    1: (
        INVERSION,
        "--inversion_steps 10 --inversion_train_bs 2 --gradient_accumulation 1 --vectors 1 "
        "--sheet_samples 1 --num_inference_steps 4",
    ),
    2: (SYNTHESIS, "--image_per_entry 4 --num_inference_steps 4 --batch_size 2"),
    3: (REFINEMENT, "--batch_size 4"),
    # The pairs of one category are backgrounds of the other.
    4: (COMPOSITION, f"--backgrounds {EXAMPLE / 'fish'} {EXAMPLE / 'mushroom'} --count 100"),
}
# Where each step's results appear: the work has begun when something does.
RESULTS = {
    1: frozenset({"learned_embeddings"}),
    2: frozenset({"generated_images", "attention_masks", "samples"}),
    3: frozenset({"aligndiff_masks", "samples"}),
    4: frozenset({"scenes"}),
}
# Words that make other files, for --overwrite to replace.
OTHERWISE = {1: "--seed 1", 2: "--seed 1", 3: "--pseudo_label_threshold 0.6", 4: "--seed 1"}


@dataclass(frozen=True)
class Length:
    """How long an undisturbed run takes, and after how long its first result appears: seconds."""

    whole: float
    first: float


class DrillDatasets:
    """Makes what is asked for when it is asked for, below the work folder of a drill."""

    def __init__(self, config: DrillConfig) -> None:
        self.config = config
        self._numbers = itertools.count()
        self.made = cache(self._make)
        self.made_otherwise = cache(self._make_otherwise)
        self.tree_after = cache(lambda step: tree(self.made(step)))
        self.length = cache(self._measure)
        self.lengths: dict[int, Length] = {}

    def words(self, step: int, dataset: Path, *more: str) -> list[str]:
        """The words of a step's command; of two equal options the last one counts."""
        module, options = STEPS[step]
        common = f"--device cpu --precision float32 {options}".split()
        return [module, "--dataset_dir", str(dataset.resolve()), *common, *more]

    def fresh(self, step: int, with_others: bool = False) -> Path:
        """A new copy of the dataset as it is before `step`; or with files that it would replace."""
        return self.copy(self.made_otherwise(step) if with_others else self.made(step - 1))

    def copy(self, dataset: Path, below: Path | None = None) -> Path:
        """A new copy of a dataset, in the work folder or `below` another one."""
        folder = (below or self.config.work_dir) / f"dataset_{next(self._numbers)}"
        return Path(shutil.copytree(dataset, folder))

    def compare(self, step: int, dataset: Path) -> list[str]:
        """How a dataset differs from what an undisturbed run of `step` left; and removes it."""
        found = differences(self.tree_after(step), tree(dataset))
        if not found:
            shutil.rmtree(dataset)
        return found

    def begin(self, step: int, dataset: Path, *more: str) -> tuple[Command, Watch]:
        """Start a step, and the watch over its results."""
        watch = Watch(dataset, RESULTS[step])
        return Command(self.words(step, dataset, *more)), watch

    def _make(self, step: int) -> Path:
        """The dataset after `step`, undisturbed, one process; 0 is what a user brings."""
        folder = self.config.work_dir / f"after_step_{step}"
        if step == 0:
            return _two_prompts(copy_example(folder))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.made(step - 1), folder)
        self.lengths[step] = self._time(step, folder)
        return folder

    def _make_otherwise(self, step: int) -> Path:
        """The dataset after `step` with other settings than usual."""
        folder = self.config.work_dir / f"otherwise_{step}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.made(step - 1), folder)
        self._time(step, folder, *OTHERWISE[step].split())
        return folder

    def _measure(self, step: int, workers: int) -> Length:
        if workers == 1:
            self.made(step)
            return self.lengths[step]
        dataset = self.fresh(step)
        length = self._time(step, dataset, "--workers", str(workers))
        shutil.rmtree(dataset)
        return length

    def _time(self, step: int, dataset: Path, *more: str) -> Length:
        command, watch = self.begin(step, dataset, *more)
        with command:
            await_work(command, watch)
            first = command.age
            ended = command.wait()
        if problems := ended.problems():
            raise AlignDiffError(f"step {step}, undisturbed: {problems[0]}")
        return Length(ended.seconds, first)


def await_work(command: Command, watch: Watch) -> bool:
    """Wait for the first result; False when the command ended before."""
    return await_that(command, watch.has_changed)


def await_that(command: Command, happens: Callable[[], object]) -> bool:
    """Wait for something; False when the command ended before."""
    while not happens():
        if not command.is_running:
            return False
        time.sleep(POLL)
    return True


def one_error(ended: Ended, code: int, *words: str) -> list[str]:
    """What is wrong about an end: it must be told by one line on stderr that holds `words`.

    Beside it there may be notes, and lines of the progress bar.
    """
    found = ended.problems(code)
    lines = [line for line in without_bars(ended.said) if not line.startswith("note: ")]
    if len(lines) != 1 or not lines[0].startswith("error: "):
        found.append(f"{len(lines)} lines instead of one error: {' / '.join(lines[:3])[:300]}")
    return found + [f'"{word}" is not said' for word in words if word not in ended.said]


def _two_prompts(dataset: Path) -> Path:
    """Leave the example the plain prompt and the learned one of each object."""
    bank: dict[str, Any] = read_json(dataset / DATASET_FILE)
    bank["prompt_dataset"] = [e for e in bank["prompt_dataset"] if len(e.get("text", "")) < 30]
    write_json(dataset / DATASET_FILE, bank)
    return dataset

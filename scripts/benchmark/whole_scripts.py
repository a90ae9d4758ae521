"""Part e: images a second of each whole script on the tiny model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.inversion.config import InversionConfig
from scripts.benchmark.commands import run, script_words
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import Unit, line
from scripts.example import INVERSION, REFINEMENT, SYNTHESIS, copy_example
from scripts.reporting import Line


@dataclass(frozen=True)
class WholeScript:
    """A script, and how many items it works through."""

    number: int
    module: str
    options: tuple[object, ...]
    items: int
    unit: Unit


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    folder = config.work_dir / "scripts"
    steps = list(_steps(config))
    seconds: dict[int, list[float]] = {step.number: [] for step in steps}
    for _ in range(config.script_rounds):
        copy_example(folder)
        for step in steps:
            words = [step.module, *script_words(config, folder, *step.options)]
            seconds[step.number].append(run(config, words))
    for step in steps:
        taken = seconds[step.number]
        script = f"step {step.number}, {step.items} {step.unit.removesuffix('/s')}"
        yield line("e", f"{script}: the whole script", taken, "s")
        yield line("e", f"{script}: the whole script", [step.items / s for s in taken], step.unit)
    shutil.rmtree(folder)


def _steps(config: BenchmarkConfig) -> Iterator[WholeScript]:
    bank = load_prompt_bank(copy_example(config.work_dir / "scripts"))
    defaults, effort = InversionConfig(), config.effort
    passes = effort.inversion_steps * defaults.gradient_accumulation * len(bank.objects)
    views = passes * defaults.inversion_train_bs
    options = ("--inversion_steps", effort.inversion_steps)
    yield WholeScript(1, INVERSION, options, views, "views/s")
    images = effort.images_per_class * len({entry.category for entry in bank.entries})
    options = ("--image_per_class", effort.images_per_class)
    yield WholeScript(2, SYNTHESIS, options, images, "images/s")
    yield WholeScript(3, REFINEMENT, (), images, "images/s")

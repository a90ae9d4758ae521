"""Step 2 under the driver: images of every entry, each with the heatmap of its category."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.console import note, progress, say, table
from aligndiff.core.errors import InputError
from aligndiff.core.options import CommandLine
from aligndiff.core.ranks import is_first, is_worker
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.bank_checks import check_prompt_length, learned_words
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.diffusion.embeddings import check_embeddings
from aligndiff.diffusion.families import check_drawing
from aligndiff.diffusion.load import (
    DiffusionOptions,
    check_model,
    choose_diffusion_model,
    load_diffusion_model,
    model_family,
    token_counter,
)
from aligndiff.diffusion.memory import memory_lines
from aligndiff.diffusion.schedulers import check_scheduler
from aligndiff.runner import step as runner
from aligndiff.runner.options import RunOptions
from aligndiff.runner.step import Step, check_device, run_step
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.generate import BatchSize, synthesize
from aligndiff.synthesis.plan import (
    EntryPlan,
    Sample,
    blocks_of,
    check_settings,
    list_samples,
    plan_synthesis,
    prepare_folders,
)
from aligndiff.synthesis.presets import synthesis_config
from aligndiff.synthesis.sheet import write_synthesis_sheet

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# Images of one entry that go to one process together, unless --batch_size says how many.
UNIT = 16


class Synthesis:
    """What to generate, with which model (`runner.step.Work`).

    A unit is a block of samples that are generated together.
    """

    def __init__(
        self,
        run: RunOptions,
        config: SynthesisConfig,
        model: ModelChoice,
        plans: Sequence[EntryPlan],
    ) -> None:
        self.run, self.config, self.model, self.plans = run, config, model, plans
        self.units = blocks_of(list_samples(plans), config.batch_size or UNIT)
        self._batch_size = BatchSize(config.batch_size or 0)

    @property
    def outputs(self) -> list[Path]:
        sheet = [] if self.run.no_sheet else [sheet_path(self.run.dataset_dir, "2_synthesis")]
        return [*(path for plan in self.plans for path in plan.place.outputs()), *sheet]

    @property
    def weights_line(self) -> str:
        return f"diffusion model: {self.model}"

    def weight(self, unit: Sequence[Sample]) -> int:
        return len(unit)

    def category(self, unit: Sequence[Sample]) -> str:
        return unit[0].plan.entry.category

    def survey(
        self, numbers: Sequence[int], reported: Sequence[int]
    ) -> tuple[list[int], dict[str, int]]:
        """The message counts, by entry, the samples that are there already."""
        missing, skipped = list[int](), Counter[str]()
        for number in numbers:
            unit = self.units[number]
            made = 0 if self.run.overwrite else sum(sample.is_made for sample in unit)
            skipped[unit[0].plan.entry.id] += made
            if made < len(unit):
                missing.append(number)
        return missing, dict(skipped)

    def make_room(self) -> None:
        if self.run.overwrite:
            # A model that cannot be loaded must not cost what is there.
            check_device(self.run)
            check_model(self.model)
        self._tell_memory()
        self._prepare(self.units)

    def do(self, units: Sequence[Sequence[Sample]]) -> None:
        self._tell_memory()
        pipe = self._pipe
        self._prepare(units)
        missing = [sample for sample in itertools.chain(*units) if not sample.is_made]
        totals = Counter(sample.plan.entry.category for sample in missing)
        with progress("generating", totals) as advance:
            synthesize(pipe, missing, self.config, advance, self._batch_size)

    def finish(self, numbers: Sequence[int]) -> int:
        return 0

    def report(
        self, title: str, numbers: Sequence[int], messages: Sequence[Mapping[str, int]]
    ) -> int:
        """Print what was generated, and write the contact sheet."""
        samples = [sample for number in numbers for sample in self.units[number]]
        failed = [sample for sample in samples if not sample.is_made]
        skipped = Counter[str]()
        for message in messages:
            skipped.update(message)
        total, lost = (Counter(s.plan.entry.id for s in group) for group in (samples, failed))
        rows = [
            (name, total[name] - skipped[name] - lost[name], skipped[name], lost[name], str(folder))
            for name, folder in ((plan.entry.id, plan.place.folder) for plan in self.plans)
        ]
        table(title, ("entry", "generated", "skipped", "failed", "folder"), rows)
        if not self.run.no_sheet and is_first():
            say(f"contact sheet: {write_synthesis_sheet(self.run.dataset_dir, self.plans)}")
        return min(len(failed), 1)

    def _prepare(self, units: Sequence[Sequence[Sample]]) -> None:
        samples = [*itertools.chain(*units)]
        prepare_folders(self.plans, samples, self.run.overwrite, is_first())

    def _tell_memory(self) -> None:
        if is_worker() or self.run.launcher == "ray":
            return
        run = self.run
        sentence, warning = memory_lines(self.model, run.device, run.precision, self.config.side)
        if sentence:
            say(sentence)
        note([warning] if warning else [])

    @cached_property
    def _pipe(self) -> DiffusionPipeline:
        return load_diffusion_model(self.model, self.run.device, self.run.precision)


def _plan(line: CommandLine, run: RunOptions, bank: PromptBank) -> Synthesis:
    model = choose_diffusion_model(line, bank.defaults)
    family = model_family(model)
    config = synthesis_config(line, bank.defaults, family)
    count_tokens = token_counter(line)(bank.defaults)
    problems = learned_words(config.negative_prompt)
    if problems := problems + check_prompt_length(config.negative_prompt, count_tokens):
        raise InputError([f"--negative_prompt: {problem}" for problem in problems])
    check_scheduler(config.scheduler, model)
    plans = plan_synthesis(bank, model, config, run.precision)
    problems = check_drawing(family, config.negative_prompt, config.side)
    for plan in plans if not config.negative_prompt else ():
        name = f"{plan.entry.id}: negative_prompt"
        problems += check_drawing(family, plan.negative_prompt, (), name)
    if problems:
        raise InputError(problems)
    check_embeddings([plan.embedding for plan in plans if plan.embedding is not None], model)
    if not run.overwrite:
        check_settings(plans)
    return Synthesis(run, config, model, plans)


STEP = Step(
    name="diffuse_img_attention",
    module=__name__,
    description="Step 2: generate images of every entry of a prompt bank, each with the heatmap of "
    "its category.",
    epilog="Running it again resumes: samples that are there are skipped. Several GPUs "
    "(CUDA_VISIBLE_DEVICES=0,1,2,3) are all used, one process each.",
    options={"model": DiffusionOptions, "images": SynthesisConfig},
    activity="generating",
    product="images",
    plan=_plan,
    token_counter=token_counter,
)


def main(argv: Sequence[str], prog: str | None = None) -> int:
    """Step 2 as a command; returns the exit code."""
    return run_step(STEP, argv, prog)


def open_work(argv: Sequence[str]) -> runner.Work:
    """The work of a command line, for an actor of a cluster."""
    return runner.open_work(STEP, argv)

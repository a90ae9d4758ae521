"""Step 1 under the driver: learn an embedding of each object from its support pairs."""

from __future__ import annotations

import itertools
from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.console import note, progress, say, table, warn
from aligndiff.core.errors import InputError
from aligndiff.core.options import CommandLine
from aligndiff.core.ranks import is_first, is_worker
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import embedding_file, sheet_path
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.diffusion.families import check_drawing, steps_and_guidance
from aligndiff.diffusion.hub import load_tokenizers
from aligndiff.diffusion.load import (
    DiffusionOptions,
    check_learnable,
    check_model,
    choose_diffusion_model,
    load_diffusion_model,
    model_family,
    model_identity,
    token_counter,
)
from aligndiff.diffusion.memory import memory_lines
from aligndiff.diffusion.schedulers import check_scheduler
from aligndiff.diffusion.tokens import initializer_id
from aligndiff.inversion.choice import (
    ChoiceConfig,
    ChoicePlan,
    ChosenEmbedding,
    best_of,
    check_room,
    is_taken,
    judge_missing,
    take,
)
from aligndiff.inversion.config import EMBEDDING_ALONE, AdaptConfig, InversionConfig, SheetConfig
from aligndiff.inversion.judge import HEATMAP
from aligndiff.inversion.learn import learn_object
from aligndiff.inversion.plan import (
    InversionJob,
    check_jobs,
    clear_markers,
    copy_embedding,
    final_loss,
    mark_outdated,
    plan_jobs,
)
from aligndiff.inversion.sheet import draw_missing, has_samples, write_inversion_sheet
from aligndiff.inversion.templates import spelled_out, templates_setting
from aligndiff.runner import step as runner
from aligndiff.runner.options import RunOptions
from aligndiff.runner.step import Step, check_device, run_step
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter, load_segmenter

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from aligndiff.segmenters.base import Segmenter


class Inversion:
    """What to learn, with which model (`runner.step.Work`).

    A unit is an object: the jobs of its `--bg_lambda` values.
    """

    def __init__(
        self,
        run: RunOptions,
        config: InversionConfig,
        sheet: SheetConfig,
        model: ModelChoice,
        units: Sequence[Sequence[InversionJob]],
        adapt: AdaptConfig = EMBEDDING_ALONE,
        choosing: ChoicePlan | None = None,
    ) -> None:
        self.run, self.config, self.sheet, self.adapt = run, config, sheet, adapt
        self.model, self.units = model, units
        self.choosing = choosing  # None: nothing is chosen
        self._copied: set[Path] = set()  # folders whose embedding need not be learned

    @property
    def outputs(self) -> list[Path]:
        sheet = [] if self.run.no_sheet else [self._sheet_file]
        return [*(path for unit in self.units for job in unit for path in job.outputs()), *sheet]

    @property
    def weights_line(self) -> str:
        return f"diffusion model: {self.model}"

    def weight(self, unit: Sequence[InversionJob]) -> int:
        return self.config.inversion_steps * len(unit)

    def category(self, unit: Sequence[InversionJob]) -> str:
        return unit[0].entry.category

    def survey(
        self, numbers: Sequence[int], reported: Sequence[int]
    ) -> tuple[list[int], dict[str, str]]:
        """Copies what another folder of the object holds, so that it is not learned again.

        The message is "copied" or "skipped" by the folder, for those that are not learned.
        """
        if self.choosing is not None and not (self.run.overwrite or is_worker()):
            check_room(self.units)  # of workers their parent takes the best
        states = dict[str, str]()
        for job in self._jobs(numbers):
            if source := job.adoptable():
                copy_embedding(source, job.folder)
                self._copied.add(job.folder)
                states[str(job.folder)] = "copied"
            elif job.is_learned and not self.run.overwrite:
                states[str(job.folder)] = "skipped"
            if self._is_done(job):
                clear_markers(job.folder)
        missing = [
            number
            for number in numbers
            if any(self._is_redone(job) or not self._is_done(job) for job in self.units[number])
            or (self.choosing is not None and not self.choosing.are_judged(self.units[number]))
        ]
        return missing, states

    def make_room(self) -> None:
        self._check()
        if self.run.overwrite:  # what workers would find out when all is marked
            check_device(self.run)
            check_model(self.model)
        self._tell_memory()
        self._mark(itertools.chain(*self.units))

    def do(self, units: Sequence[Sequence[InversionJob]]) -> None:
        self._check()
        self._tell_memory()
        pipe = self._pipe
        self._tell_size(pipe)
        self._mark(itertools.chain(*units))
        totals = Counter[str]()
        for job in itertools.chain(*units):
            totals[job.entry.category] += 0 if job.is_learned else self.config.inversion_steps
        with progress("learning", totals) as advance:
            for jobs in units:
                failures = learn_object(pipe, jobs, self.config, advance, self.adapt)
                if not self.run.no_sheet:
                    failures |= draw_missing(pipe, jobs, self.sheet)
                if self.choosing is not None:
                    advance(0, jobs[0].entry.category, status="judging")
                    failures |= judge_missing(pipe, jobs, self._segmenter, self.choosing)
                for folder, reason in failures.items():
                    warn(f"failed: {folder}: {reason}")

    def finish(self, numbers: Sequence[int]) -> int:
        """Take the best of each object; of workers their parent does it."""
        if self.choosing is None or is_worker():
            return 0
        choices = [best_of(self.units[number], self.choosing) for number in numbers]
        for choice in filter(None, choices):
            take(choice, self.choosing)
        return 0 if all(choices) else 1

    def report(
        self, title: str, numbers: Sequence[int], messages: Sequence[Mapping[str, str]]
    ) -> int:
        """Print what was learned and where it is, write the contact sheet, say how to go on."""
        states = ChainMap(*map(dict, messages))
        jobs = self._jobs(numbers)
        failed = [job for job in jobs if not self._is_done(job)]
        rows = [
            (
                job.entry.category,
                f"{job.bg_lambda:g}",
                "failed" if job in failed else states.get(str(job.folder), "learned"),
                final_loss(job),
                str(job.folder),
            )
            for job in jobs
        ]
        table(title, ("object", "bg_lambda", "state", "loss", "folder"), rows)
        if is_first():
            self._show()
        return min(len(failed), 1)

    @property
    def _sheet_file(self) -> Path:
        return sheet_path(self.run.dataset_dir, "1_inversion")

    def _jobs(self, numbers: Sequence[int]) -> list[InversionJob]:
        return [job for number in numbers for job in self.units[number]]

    def _is_done(self, job: InversionJob) -> bool:
        return job.is_learned and (self.run.no_sheet or has_samples(job, self.sheet))

    def _is_redone(self, job: InversionJob) -> bool:
        """Whether --overwrite asks to learn it, whether it is there or not."""
        return self.run.overwrite and job.folder not in self._copied

    def _check(self) -> None:
        from aligndiff.diffusion.prompts import check_length

        tokenizers, config = load_tokenizers(self.model), self.config
        for tokenizer in tokenizers.values():
            for word in config.initializer:
                initializer_id(tokenizer, word)
        # These words are one token each, as the learned ones will be.
        words = [config.initializer[0]] * config.vectors
        for jobs in self.units:
            for prompt in spelled_out(jobs[0].entry.category, words, jobs[0].templates).prompts:
                check_length(tokenizers, model_family(self.model), prompt)

    def _mark(self, jobs: itertools.chain[InversionJob]) -> None:
        for job in jobs:
            if self._is_redone(job):
                mark_outdated(job)

    def _tell_memory(self) -> None:
        if is_worker() or self.run.launcher == "ray":
            return
        run, side = self.run, [self.config.side] if self.config.side else []
        sentence, warning = memory_lines(self.model, run.device, run.precision, side, learning=True)
        if sentence:
            say(sentence)
        note([warning] if warning else [])

    @cached_property
    def _pipe(self) -> DiffusionPipeline:
        return load_diffusion_model(self.model, self.run.device, self.run.precision)

    @cached_property
    def _segmenter(self) -> Segmenter:
        assert self.choosing is not None
        return load_segmenter(self.choosing.segmenter, self.run.device, self.run.precision)

    def _tell_size(self, pipe: DiffusionPipeline) -> None:
        """Say how much is written beside each embedding, where that is more than a few vectors.

        Raises InputError for a denoiser that cannot be tuned as asked for.
        """
        if self.adapt.adapt == "embedding":
            return
        from aligndiff.diffusion.adapters import adaptation_bytes, check_adaptable

        check_adaptable(pipe, self.adapt.adapt)
        if not is_first():
            return
        megabytes = adaptation_bytes(pipe, self.adapt.adapt, self.adapt.lora_rank) / 1e6
        say(f"--adapt {self.adapt.adapt}: {megabytes:,.0f} MB on disk beside each embedding")

    def _chosen(self) -> list[ChosenEmbedding]:
        """The choices that are made, one of an object at most."""
        if self.choosing is None:
            return []
        choices = [best_of(unit, self.choosing) for unit in self.units]
        return [choice for choice in choices if choice and is_taken(choice, self.choosing)]

    def _show(self) -> None:
        chosen = self._chosen()
        if not self.run.no_sheet and write_inversion_sheet(
            self._sheet_file, self.units, {choice.job.folder for choice in chosen}
        ):
            say(f"contact sheet: {self._sheet_file}")
        for choice in chosen:
            say(f"{choice.why}; {choice.table}")
        if self.choosing is None and len(self.units[0]) > 1:
            root = self.run.dataset_dir
            replaces = any(embedding_file(root, jobs[0].entry).exists() for jobs in self.units)
            extra = ", and --overwrite where another one is in its place" if replaces else ""
            say(
                "to pick: look at the sheet, then run this again with the one --bg_lambda you like"
                f"{extra}; its embedding is copied to where step 2 looks for it"
            )


def _plan_choice(
    line: CommandLine, config: InversionConfig, sheet: SheetConfig, bank: PromptBank
) -> ChoicePlan | None:
    """How to choose among the embeddings, if that is asked for."""
    choice, defaults = line.config(ChoiceConfig), bank.defaults
    if not choice.choose and None not in config.bg_lambda:
        return None
    if len(config.bg_lambdas) < 2:
        raise InputError("--choose: needs several values of --bg_lambda to choose from")
    segmenter = choose_segmenter(line.config(SegmenterOptions), defaults.fss_ckpt_path)
    threshold = HEATMAP if defaults.heatmap_threshold is None else defaults.heatmap_threshold
    return ChoicePlan(choice.choose_samples, sheet, segmenter, threshold)


def _plan(line: CommandLine, run: RunOptions, bank: PromptBank) -> Inversion:
    sheet = line.config(SheetConfig, bank.defaults)
    adapt = line.config(AdaptConfig)
    config = adapt.applied_to(line.config(InversionConfig))
    model = choose_diffusion_model(line, bank.defaults)
    check_learnable(model)
    family = model_family(model)
    steps, scale = steps_and_guidance(family, sheet)
    sheet = replace(sheet, num_inference_steps=steps, guidance_scale=scale)
    if problems := check_drawing(family, "", [config.side] if config.side else []):
        raise InputError(problems)
    if not run.no_sheet or adapt.draws:
        check_scheduler(sheet.scheduler, model)
    recipe = config.recipe(model_identity(model), run.precision) | adapt.recipe(sheet)
    recipe |= templates_setting(config.templates)
    units = [
        plan_jobs(bank.root, entry, recipe, config.bg_lambdas, config.squeeze)
        for entry in bank.objects
    ]
    choosing = _plan_choice(line, config, sheet, bank)
    if not run.overwrite:
        check_jobs([*itertools.chain(*units)])
    return Inversion(run, config, sheet, model, units, adapt, choosing)


def _nothing_to_do(bank: PromptBank) -> str | None:
    return None if bank.objects else "nothing to learn: no entry of type NM_embedding is asked for"


STEP = Step(
    name="image_mask_inversion",
    module=__name__,
    description="Step 1: learn, from a few images and masks, an embedding of each object.",
    epilog="An object that is learned with the same settings is skipped. With several values of "
    "--bg_lambda each gets an embedding of its own, and the contact sheet shows them side by side.",
    options={
        "model": DiffusionOptions,
        "learning": InversionConfig,
        "tuning the denoiser": AdaptConfig,
        "choosing": ChoiceConfig,
        "segmenter that judges": SegmenterOptions,
        "contact sheet": SheetConfig,
    },
    activity="learning",
    product="embeddings",
    plan=_plan,
    token_counter=token_counter,
    nothing_to_do=_nothing_to_do,
)


def main(argv: Sequence[str], prog: str | None = None) -> int:
    """Step 1 as a command; returns the exit code."""
    return run_step(STEP, argv, prog)


def open_work(argv: Sequence[str]) -> runner.Work:
    """The work of a command line, for an actor of a cluster."""
    return runner.open_work(STEP, argv)

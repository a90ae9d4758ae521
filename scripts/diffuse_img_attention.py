"""Step 2: draw images of every entry of a prompt bank, each with the heatmap of its category."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.console import quiet_libraries, say, table
from aligndiff.core.device import known_precision
from aligndiff.core.exits import exit_with, overwriting
from aligndiff.core.files import check_writable, remove_leftovers
from aligndiff.core.options import add_config_options, config_from_args
from aligndiff.core.ranks import is_first
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.diffusion.embeddings import check_embeddings
from aligndiff.diffusion.load import (
    add_diffusion_model_option,
    check_model,
    load_diffusion_model,
    resolve_diffusion_model,
    token_counter,
)
from aligndiff.runner.group import only_run_in
from aligndiff.runner.local import read_assignment
from aligndiff.runner.options import RunOptions, make_parser
from aligndiff.runner.step import carry_out, check_device, my_units
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.generate import Pace, synthesize
from aligndiff.synthesis.plan import (
    EntryPlan,
    Sample,
    blocks_of,
    check_settings,
    list_samples,
    plan_synthesis,
    prepare_folders,
)
from aligndiff.synthesis.sheet import write_synthesis_sheet

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

MODULE = "scripts.diffuse_img_attention"
EPILOG = (
    "Running it again continues: samples that are there are skipped. Several GPUs "
    "(CUDA_VISIBLE_DEVICES=0,1,2,3) are all used, one process each."
)
# Images of one entry that go to one process together, unless --batch_size says how many.
UNIT = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, draw what is missing, report; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args, run, bank = _read(argv)
    overwrites = run.overwrite or read_assignment().overwrites
    with overwriting(overwrites), only_run_in(bank.root) as group:
        work = _plan(args, run, bank)
        remove_leftovers(work.outputs)
        say(f"diffusion model: {work.chosen}")
        mine = my_units(work)
        there = [] if run.overwrite else [s for s in itertools.chain(*mine) if s.is_made]
        skipped, made = Counter(s.plan.entry.id for s in there), set(map(id, there))
        missing = [unit for unit in mine if not made.issuperset(map(id, unit))]
        code = carry_out(work, missing, MODULE, argv, work.run, "drawing")
        with group.finish(skipped) as everyone:
            for other in everyone[1:]:
                skipped.update(other)
            told = [*itertools.chain(*(work.units if group.reports_all else mine))]
            return max(code, _report(work, group.title("images"), told, skipped))


def open_work(argv: Sequence[str]) -> Drawing:
    """What the command line asks for, for one process among others that do it."""
    return _plan(*_read(argv))


@dataclass(frozen=True)
class Drawing:
    """A checked command line: what to draw, with which model, how to run (`launching.Work`)."""

    run: RunOptions
    config: SynthesisConfig
    chosen: ModelChoice
    plans: list[EntryPlan]
    pace: Pace = field(default_factory=Pace)

    @property
    def outputs(self) -> list[Path]:
        """One file of each folder that is written into."""
        sheet = [] if self.run.no_sheet else [sheet_path(self.run.dataset_dir, "2_synthesis")]
        return [*(path for plan in self.plans for path in plan.place.outputs()), *sheet]

    @cached_property
    def units(self) -> list[list[Sample]]:
        """Blocks of samples that are drawn together."""
        samples = list_samples(self.plans)
        return blocks_of(samples, self.config.batch_size or UNIT)

    def weight(self, unit: Sequence[Sample]) -> int:
        return len(unit)

    def category(self, unit: Sequence[Sample]) -> str:
        return unit[0].plan.entry.category

    def make_room(self) -> None:
        if self.run.overwrite:
            # A model that cannot be loaded must not cost what is there.
            check_device(self.run)
            check_model(self.chosen)
        self._prepare(self.units)

    def do(self, units: Sequence[Sequence[Sample]]) -> None:
        pipe = self._pipe
        self._prepare(units)
        missing = [sample for sample in itertools.chain(*units) if not sample.is_made]
        synthesize(pipe, missing, self.config, self.pace)

    def _prepare(self, units: Sequence[Sequence[Sample]]) -> None:
        samples = [*itertools.chain(*units)]
        prepare_folders(self.plans, samples, self.run.overwrite, is_first())

    @cached_property
    def _pipe(self) -> StableDiffusionPipeline:
        return load_diffusion_model(self.chosen, self.run)


def _read(argv: Sequence[str]) -> tuple[argparse.Namespace, RunOptions, PromptBank]:
    """The command line and the prompt bank, checked."""
    parser = make_parser(MODULE, __doc__ or "", EPILOG)
    add_diffusion_model_option(parser)
    add_config_options(parser, SynthesisConfig, "images")
    args = parser.parse_args(argv)
    # Built once more in `_plan`, with the prompt bank's defaults: what is typed is checked first.
    run, _ = config_from_args(RunOptions, args), config_from_args(SynthesisConfig, args)

    quiet_libraries()
    counter = token_counter(run.dataset_dir, args.diffusion_model)
    return args, run, load_prompt_bank(run.dataset_dir, run.categories, counter)


def _plan(args: argparse.Namespace, run: RunOptions, bank: PromptBank) -> Drawing:
    """Everything else, checked against what is on disk; loads no model."""
    config = config_from_args(
        SynthesisConfig,
        args,
        guidance_scale=bank.defaults.guidance_scale,
        num_inference_steps=bank.defaults.num_inference_steps,
        scheduler=bank.defaults.scheduler,
    )
    chosen = resolve_diffusion_model(args.diffusion_model, bank.defaults.diffusion_model)
    run = replace(run, precision=known_precision(run.precision, run.device))
    plans = plan_synthesis(bank, chosen, config, run.precision)
    learned = [plan.embedding for plan in plans if plan.embedding is not None]
    check_embeddings(learned, chosen)
    if not run.overwrite:
        check_settings(plans)
    work = Drawing(run, config, chosen, plans)
    check_writable(work.outputs)
    return work


def _report(
    work: Drawing, title: str, samples: Sequence[Sample], skipped: Mapping[str, int]
) -> int:
    """Print what was made, write the contact sheet; returns 1 when a sample is missing, else 0.

    `skipped` counts, by entry, what was there before.
    """
    failed = [sample for sample in samples if not sample.is_made]
    total, lost = (Counter(sample.plan.entry.id for sample in group) for group in (samples, failed))
    kept = Counter(skipped)
    rows = [
        (name, total[name] - kept[name] - lost[name], kept[name], lost[name], str(folder))
        for name, folder in ((plan.entry.id, plan.place.folder) for plan in work.plans)
    ]
    table(title, ("entry", "made", "skipped", "failed", "folder"), rows)
    if not work.run.no_sheet and is_first():
        say(f"contact sheet: {write_synthesis_sheet(work.run.dataset_dir, work.plans)}")
    return min(len(failed), 1)


if __name__ == "__main__":
    exit_with(main)

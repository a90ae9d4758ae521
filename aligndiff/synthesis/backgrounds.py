"""Drawing backgrounds for scenes: step 2 for prompts of places and other things."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import fingerprint
from aligndiff.core.options import CommandLine, Options, option
from aligndiff.dataset.bank_checks import check_prompt_length
from aligndiff.dataset.layout import BackgroundFolder, sheet_path
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.samples import read_sample, sample_indices
from aligndiff.diffusion.load import DiffusionOptions, choose_diffusion_model, token_counter
from aligndiff.render.sheet import grid, write_sheet
from aligndiff.runner import step as runner
from aligndiff.runner.options import RunOptions
from aligndiff.runner.step import Step, run_step
from aligndiff.synthesis.background_prompts import read_background_prompts, thing_of
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.plan import EntryPlan, check_settings, plan_synthesis
from aligndiff.synthesis.step import Synthesis

_SHOWN, _TILE = 6, 160  # images of a prompt on the sheet, and their side in px


@dataclass(frozen=True)
class BackgroundOptions(Options):
    """Which backgrounds."""

    prompts: Path | None = option(
        None,
        "a text file, a prompt a line; 'cat: a photo of a cat' names a thing, which scenes may "
        "paste over the object too",
        shown_default="40 of places and things",
    )


class Backgrounds(Synthesis):
    """Step 2 for backgrounds, in a folder of their own (`runner.step.Work`)."""

    @property
    def outputs(self) -> list[Path]:
        sheet = [] if self.run.no_sheet else [sheet_path(self.run.dataset_dir, "backgrounds")]
        return [*(path for plan in self.plans for path in plan.place.outputs()), *sheet]

    def write_sheet(self) -> Path:
        return write_background_sheet(self.run.dataset_dir, self.plans)


def write_background_sheet(root: Path, plans: Sequence[EntryPlan]) -> Path:
    """Draw a few backgrounds of each prompt; returns the sheet's path."""
    rows = []
    for plan in plans:
        shown, images = itertools.islice(sample_indices(plan.place), _SHOWN), []
        for index in shown:
            try:
                images.append(read_sample(plan.place, index).read_image())
            except InputError:  # another process may be replacing it
                continue
        rows.append(images)
    names = [plan.record.prompt.removeprefix("a photo of ") for plan in plans]
    path = sheet_path(root, "backgrounds")
    write_sheet(path, grid(rows, title="Backgrounds", row_titles=names, tile=_TILE))
    return path


def _plan(line: CommandLine, run: RunOptions, bank: PromptBank) -> Backgrounds:
    config = line.config(SynthesisConfig, bank.defaults)
    entries = read_background_prompts(line.config(BackgroundOptions).prompts)
    count_tokens = token_counter(line)(bank.defaults)
    problems = [p for entry in entries for p in check_prompt_length(entry.text, count_tokens)]
    if problems:
        raise InputError([f"--prompts: {problem}" for problem in problems])
    model = choose_diffusion_model(line, bank.defaults)
    own = replace(bank, entries=tuple(entries))
    plans = [_as_background(plan) for plan in plan_synthesis(own, model, config, run.precision)]
    if not run.overwrite:
        check_settings(plans)
    return Backgrounds(run, config, model, plans)


def _as_background(plan: EntryPlan) -> EntryPlan:
    """The plan in the folder of backgrounds; its record tells what may be cut out."""
    assert plan.entry.type == "text"
    settings = {**plan.record.settings, "thing": thing_of(plan.entry)}
    record = replace(
        plan.record, settings=settings, fingerprint=fingerprint([plan.entry.id, settings])
    )
    return replace(plan, place=BackgroundFolder(plan.place.root, plan.entry), record=record)


STEP = Step(
    name="draw_backgrounds",
    module=__name__,
    description="Backgrounds for scenes: have the diffusion model draw places and other things, "
    "without the objects of the dataset.",
    epilog="Running it again resumes, as step 2 does; compose_scenes finds what it has drawn. "
    "docs/SCENES.md",
    options={
        "model": DiffusionOptions,
        "backgrounds": BackgroundOptions,
        "images": SynthesisConfig,
    },
    activity="drawing",
    product="backgrounds",
    plan=_plan,
)


def main(argv: Sequence[str], prog: str | None = None) -> int:
    """Drawing backgrounds as a command; returns the exit code."""
    return run_step(STEP, argv, prog)


def open_work(argv: Sequence[str]) -> runner.Work:
    """The work of a command line, for an actor of a cluster."""
    return runner.open_work(STEP, argv)

"""Step 1: learn, from a few images and masks, a word for the look of each object."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.device import known_precision
from aligndiff.core.exits import exit_with, overwriting
from aligndiff.core.files import check_writable, remove_leftovers
from aligndiff.core.options import add_config_options, config_from_args
from aligndiff.core.ranks import is_first
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import embedding_file, sheet_path
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.diffusion.hub import load_tokenizer
from aligndiff.diffusion.load import (
    add_diffusion_model_option,
    check_model,
    load_diffusion_model,
    model_identity,
    resolve_diffusion_model,
    token_counter,
)
from aligndiff.diffusion.tokens import initializer_id
from aligndiff.inversion.config import InversionConfig, SheetConfig
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
from aligndiff.runner.group import only_run_in
from aligndiff.runner.local import read_assignment
from aligndiff.runner.options import RunOptions, make_parser
from aligndiff.runner.step import carry_out, check_device, my_units

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

MODULE = "scripts.image_mask_inversion"
EPILOG = (
    "An object that is learned with the same settings is skipped. With several values of "
    "--bg_lambda each gets an embedding of its own, and the contact sheet shows them side by side."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, learn what is missing, report; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args, run, bank = _read(argv)
    if not bank.objects:
        say("nothing to learn: no entry of type NM_embedding is asked for")
        return 0
    overwrites = run.overwrite or read_assignment().overwrites
    with overwriting(overwrites), only_run_in(bank.root) as group:
        work = _plan(args, run, bank)
        remove_leftovers(work.outputs)
        say(f"diffusion model: {work.chosen}")
        mine = my_units(work)
        states = work.copy(mine)
        missing = [jobs for jobs in mine if not all(map(work.is_done, jobs)) or work.again(jobs)]
        code = carry_out(work, missing, MODULE, argv, work.run, "learning")
        with group.finish(states) as everyone:
            told = work.units if group.reports_all else mine
            return max(code, _report(work, group.title("embeddings"), told, ChainMap(*everyone)))


def open_work(argv: Sequence[str]) -> Learning:
    """What the command line asks for, for one process among others that do it."""
    return _plan(*_read(argv))


@dataclass(frozen=True)
class Learning:
    """A checked command line: what to learn, with which model, how to run (`launching.Work`).

    A unit is an object: the jobs of its `--bg_lambda` values.
    """

    run: RunOptions
    config: InversionConfig
    sheet: SheetConfig
    chosen: ModelChoice
    units: list[list[InversionJob]]
    copied: set[Path] = field(default_factory=set)  # folders whose embedding need not be learned

    @property
    def outputs(self) -> list[Path]:
        """One file of each folder that is written into."""
        sheet = [] if self.run.no_sheet else [sheet_path(self.run.dataset_dir, "1_inversion")]
        return [*(path for unit in self.units for job in unit for path in job.outputs()), *sheet]

    def weight(self, unit: Sequence[InversionJob]) -> int:
        return self.config.inversion_steps * len(unit)

    def category(self, unit: Sequence[InversionJob]) -> str:
        return unit[0].entry.category

    def is_done(self, job: InversionJob) -> bool:
        return job.is_learned and (self.run.no_sheet or has_samples(job, self.sheet))

    def copy(self, units: Sequence[Sequence[InversionJob]]) -> dict[str, str]:
        """Copy what another folder of the object holds; clear its markers where all is well.

        Returns "copied" or "skipped" by the folder, for those that are not learned.
        """
        states = dict[str, str]()
        for job in itertools.chain(*units):
            if source := job.adoptable():
                copy_embedding(source, job.folder)
                self.copied.add(job.folder)
                states[str(job.folder)] = "copied"
            elif job.is_learned and not self.run.overwrite:
                states[str(job.folder)] = "skipped"
            if self.is_done(job):
                clear_markers(job.folder)
        return states

    def again(self, jobs: Sequence[InversionJob]) -> list[InversionJob]:
        """Those that --overwrite asks to learn, whether they are there or not."""
        return [job for job in jobs if self.run.overwrite and job.folder not in self.copied]

    def make_room(self) -> None:
        self._check()
        if self.run.overwrite:  # what workers would find out when all is marked
            check_device(self.run)
            check_model(self.chosen)
        self._mark(self.units)

    def do(self, units: Sequence[Sequence[InversionJob]]) -> None:
        self._check()
        pipe = self._pipe
        self._mark(units)
        totals = Counter[str]()
        for job in itertools.chain(*units):
            totals[job.entry.category] += 0 if job.is_learned else self.config.inversion_steps
        with progress("learning", totals) as advance:
            for jobs in units:
                found = learn_object(pipe, jobs, self.config, advance)
                if not self.run.no_sheet:
                    found |= draw_missing(pipe, jobs, self.sheet)
                for folder, reason in found.items():
                    warn(f"failed: {folder}: {reason}")

    def _check(self) -> None:
        initializer_id(load_tokenizer(self.chosen), self.config.initializer)

    def _mark(self, units: Sequence[Sequence[InversionJob]]) -> None:
        for job in self.again([*itertools.chain(*units)]):
            mark_outdated(job)

    @cached_property
    def _pipe(self) -> StableDiffusionPipeline:
        return load_diffusion_model(self.chosen, self.run)


def _read(argv: Sequence[str]) -> tuple[argparse.Namespace, RunOptions, PromptBank]:
    """The command line and the prompt bank, checked."""
    parser = make_parser(MODULE, __doc__ or "", EPILOG)
    add_diffusion_model_option(parser)
    add_config_options(parser, InversionConfig, "learning")
    add_config_options(parser, SheetConfig, "contact sheet")
    args = parser.parse_args(argv)
    # Built once more in `_plan`: what is typed is checked before the prompt bank.
    run, _ = config_from_args(RunOptions, args), config_from_args(InversionConfig, args)
    config_from_args(SheetConfig, args)

    quiet_libraries()
    counter = token_counter(run.dataset_dir, args.diffusion_model)
    return args, run, load_prompt_bank(run.dataset_dir, run.categories, counter)


def _plan(args: argparse.Namespace, run: RunOptions, bank: PromptBank) -> Learning:
    """Everything else, checked against what is on disk; loads no model."""
    config = config_from_args(InversionConfig, args)
    sheet = config_from_args(
        SheetConfig,
        args,
        guidance_scale=bank.defaults.guidance_scale,
        num_inference_steps=bank.defaults.num_inference_steps,
    )
    chosen = resolve_diffusion_model(args.diffusion_model, bank.defaults.diffusion_model)
    run = replace(run, precision=known_precision(run.precision, run.device))
    recipe = config.recipe(model_identity(chosen), run.precision)
    objects = [plan_jobs(bank.root, entry, recipe, config.bg_lambda) for entry in bank.objects]
    if not run.overwrite:
        check_jobs([*itertools.chain(*objects)])
    work = Learning(run, config, sheet, chosen, objects)
    check_writable(work.outputs)
    return work


def _report(
    work: Learning, title: str, units: Sequence[Sequence[InversionJob]], states: Mapping[str, str]
) -> int:
    """Print what was learned and where it is, write the contact sheet, say how to go on.

    Returns 1 when an embedding of `units` or its samples are missing, else 0.
    """
    jobs = [*itertools.chain(*units)]
    failed = [job for job in jobs if not work.is_done(job)]
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
    columns = ("object", "bg_lambda", "state", "loss", "folder")
    table(title, columns, rows)
    if is_first():
        _show(work)
    return min(len(failed), 1)


def _show(work: Learning) -> None:
    root = work.run.dataset_dir
    path = sheet_path(root, "1_inversion")
    if not work.run.no_sheet and write_inversion_sheet(path, work.units):
        say(f"contact sheet: {path}")
    if len(work.units[0]) > 1:
        there = any(embedding_file(root, jobs[0].entry).exists() for jobs in work.units)
        extra = ", and --overwrite where another one is in its place" if there else ""
        say(
            "to pick: look at the sheet, then run this again with the one --bg_lambda you like"
            f"{extra}; its embedding is copied to where step 2 looks for it"
        )


if __name__ == "__main__":
    exit_with(main)

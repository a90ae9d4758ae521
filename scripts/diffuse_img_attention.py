"""Step 2: draw images of every entry of a prompt bank, each with the heatmap of its category."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aligndiff.data.layout import sheet_path
from aligndiff.data.prompt_bank import load_prompt_bank
from aligndiff.data.sample_plan import (
    EntryPlan,
    Sample,
    check_settings,
    list_samples,
    prepare_folders,
)
from aligndiff.data.synthesis_sheet import write_synthesis_sheet
from aligndiff.ground.console import quiet_libraries, say, table
from aligndiff.ground.errors import exit_with
from aligndiff.ground.files import check_writable
from aligndiff.ground.launch import Share, is_worker, launched_share
from aligndiff.models.device import known_precision
from aligndiff.models.embeddings import check_embeddings
from aligndiff.models.weights import Chosen, resolve_diffusion_model
from aligndiff.stages.synthesis import synthesize
from aligndiff.stages.synthesis_plan import SynthesisConfig, plan_synthesis
from scripts.options import (
    RunOptions,
    add_config_options,
    add_diffusion_model_option,
    config_from_args,
    launch_if_needed,
    make_parser,
    token_counter,
)

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

MODULE = "scripts.diffuse_img_attention"
EPILOG = (
    "Running it again continues: samples that are there are skipped. Several GPUs "
    "(CUDA_VISIBLE_DEVICES=0,1,2,3) are all used, one process each."
)


@dataclass(frozen=True)
class Job:
    """A checked command line: what to draw, with which model, how to run."""

    run: RunOptions
    config: SynthesisConfig
    chosen: Chosen
    plans: list[EntryPlan]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, draw what is missing, report; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    job = _parse(argv)
    run = job.run
    say(f"diffusion model: {job.chosen}")
    samples, share = list_samples(job.plans, job.config.seed), launched_share() or Share(0, 1)
    mine = share.of(samples)
    missing = [sample for sample in mine if run.overwrite or not sample.is_made]
    stamps = [sample.stamp for sample in missing]

    def still_missing() -> list[Sample]:
        """On disk, so that it tells the same whoever makes the samples."""
        return [s for s, old in zip(missing, stamps, strict=True) if s.stamp in (None, old)]

    failed_workers = launch_if_needed(
        MODULE,
        run,
        argv,
        progress=lambda: len(missing) - len(still_missing()),
        total=len(missing),
        description="drawing",
        workers_overwrite=True,
    )
    if failed_workers is None and missing:
        pipe = _load(job.chosen, run)
        # Only now: a model that cannot be loaded must not cost the samples that are there.
        prepare_folders(job.plans, samples, share, run.overwrite)
        synthesize(pipe, missing, job.config)
    failed = still_missing()
    _report(job, mine, missing, failed)
    return 1 if failed or failed_workers else 0


def _parse(argv: Sequence[str]) -> Job:
    """Read the command line and the prompt bank, check everything, load no model."""
    parser = make_parser(MODULE, __doc__, EPILOG)
    add_diffusion_model_option(parser)
    add_config_options(parser, SynthesisConfig, "images")
    args = parser.parse_args(argv)
    # Built once more below, with the prompt bank's defaults: what is typed is checked first.
    run, _ = config_from_args(RunOptions, args), config_from_args(SynthesisConfig, args)

    quiet_libraries()
    counter = token_counter(run.dataset_dir, args.diffusion_model)
    bank = load_prompt_bank(run.dataset_dir, run.categories, counter)
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
    sheet = [] if run.no_sheet else [sheet_path(bank.root, "2_synthesis")]
    check_writable([*(path for plan in plans for path in plan.place.outputs()), *sheet])
    return Job(run, config, chosen, plans)


def _load(chosen: Chosen, run: RunOptions) -> StableDiffusionPipeline:
    from aligndiff.models.device import choose_device, choose_dtype
    from aligndiff.models.diffusion import load_pipeline

    device = choose_device(run.device)
    return load_pipeline(chosen, device, choose_dtype(run.precision, device))


def _report(
    job: Job, mine: Sequence[Sample], missing: Sequence[Sample], failed: Sequence[Sample]
) -> None:
    """Print what was made, write the contact sheet."""
    rows = []
    for plan in job.plans:
        total, asked, lost = (
            sum(sample.plan is plan for sample in group) for group in (mine, missing, failed)
        )
        rows.append((plan.entry.id, asked - lost, total - asked, lost, str(plan.place.folder)))
    share = launched_share()
    title = "images" if share is None else f"images of process {share.rank} of {share.world_size}"
    table(title, ("entry", "made", "skipped", "failed", "folder"), rows)
    if not job.run.no_sheet and not is_worker() and (share is None or share.is_main):
        say(f"contact sheet: {write_synthesis_sheet(job.run.dataset_dir, job.plans)}")


if __name__ == "__main__":
    exit_with(main)

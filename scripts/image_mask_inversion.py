"""Step 1: learn, from a few images and masks, a word for the look of each object."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aligndiff.data.layout import embedding_file, sheet_path
from aligndiff.data.learned import Job, check_jobs, final_loss, plan_jobs, prepare
from aligndiff.data.prompt_bank import load_prompt_bank
from aligndiff.ground.console import progress, quiet_libraries, say, table, warn
from aligndiff.ground.errors import exit_with
from aligndiff.ground.files import check_writable
from aligndiff.ground.launch import Share, is_worker, launched_share
from aligndiff.models.device import known_precision
from aligndiff.models.initializer import initializer_id
from aligndiff.models.weights import (
    Chosen,
    load_tokenizer,
    model_identity,
    resolve_diffusion_model,
)
from aligndiff.stages.inversion import InversionConfig, learn_object
from aligndiff.stages.inversion_sheet import (
    SheetConfig,
    draw_missing,
    has_samples,
    write_inversion_sheet,
)
from scripts.options import (
    OneLineParser,
    RunOptions,
    add_config_options,
    add_diffusion_model_option,
    config_from_args,
    launch_if_needed,
    make_parser,
    token_counter,
)

MODULE = "scripts.image_mask_inversion"
EPILOG = (
    "An object that is learned with the same settings is skipped. With several values of "
    "--bg_lambda each gets an embedding of its own, and the contact sheet shows them side by side."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, learn what is missing, report; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(argv)
    run, config = config_from_args(RunOptions, args), config_from_args(InversionConfig, args)
    config_from_args(SheetConfig, args)  # its mistakes come before the prompt bank's

    quiet_libraries()
    counter = token_counter(run.dataset_dir, args.diffusion_model)
    bank = load_prompt_bank(run.dataset_dir, run.categories, counter)
    if not bank.objects:
        say("nothing to learn: no entry of type NM_embedding is asked for")
        return 0
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
        check_jobs([job for jobs in objects for job in jobs])
    outputs = [path for jobs in objects for job in jobs for path in job.outputs()]
    check_writable(outputs if run.no_sheet else [*outputs, sheet_path(bank.root, "1_inversion")])
    say(f"diffusion model: {chosen}")

    if run.overwrite and not is_worker():
        # What is there must not go for something that cannot be learned.
        _check_that_learning_can_start(chosen, config, run)
    mine = (launched_share() or Share(0, 1)).of(objects)
    jobs = [job for jobs in mine for job in jobs]
    # A worker's parent has made room: what it cleared to be learned again must not be copied.
    copied = [] if is_worker() else prepare(jobs, run.overwrite)
    states = {
        job.folder: "copied" if job in copied else "skipped" for job in jobs if job.is_learned
    }
    failed, failed_workers = _learn(mine, chosen, config, sheet, run, argv)
    states |= dict.fromkeys(failed, "failed")
    _report(objects, jobs, states, run)
    return 1 if failed or failed_workers else 0


def _parser() -> OneLineParser:
    parser = make_parser(MODULE, __doc__, EPILOG)
    add_diffusion_model_option(parser)
    add_config_options(parser, InversionConfig, "learning")
    add_config_options(parser, SheetConfig, "contact sheet")
    return parser


def _check_that_learning_can_start(
    chosen: Chosen, config: InversionConfig, run: RunOptions
) -> None:
    """Raise the InputError that a wrong device, initializer or model would end the run with."""
    from aligndiff.models.device import choose_device, choose_dtype
    from aligndiff.models.diffusion import load_pipeline

    dtype = choose_dtype(run.precision, choose_device(run.device))
    initializer_id(load_tokenizer(chosen), config.initializer)
    load_pipeline(chosen, "cpu", dtype)


def _learn(
    objects: Sequence[Sequence[Job]],
    chosen: Chosen,
    config: InversionConfig,
    sheet: SheetConfig,
    run: RunOptions,
    argv: Sequence[str],
) -> tuple[dict[Path, str], int]:
    """Learn what is missing and draw its samples, here or in one process per device.

    Returns why an embedding failed, by its folder, and the number of processes that failed.
    """

    def is_done(job: Job) -> bool:
        return job.is_learned and (run.no_sheet or has_samples(job, sheet))

    missing = [job for jobs in objects for job in jobs if not is_done(job)]
    to_learn = sum(not job.is_learned for job in missing)
    if not missing:
        return {}, 0
    if to_learn:
        initializer_id(load_tokenizer(chosen), config.initializer)
    failed_workers = launch_if_needed(
        MODULE, run, argv, lambda: sum(map(is_done, missing)), len(missing), "learning"
    )
    if failed_workers is not None:
        lost = [job.folder for job in missing if not is_done(job)]
        return dict.fromkeys(lost, "see the worker's error"), failed_workers

    from aligndiff.models.device import choose_device, choose_dtype
    from aligndiff.models.diffusion import load_pipeline

    device = choose_device(run.device)
    pipe = load_pipeline(chosen, device, choose_dtype(run.precision, device))
    failed: dict[Path, str] = {}
    with progress("learning", to_learn * config.inversion_steps) as advance:
        for jobs in objects:
            found = learn_object(pipe, jobs, config, advance)
            if not run.no_sheet:
                found |= draw_missing(pipe, jobs, sheet)
            for folder, reason in found.items():
                warn(f"failed: {folder}: {reason}")
            failed |= found
    return failed, 0


def _report(
    objects: Sequence[Sequence[Job]], jobs: Sequence[Job], states: dict[Path, str], run: RunOptions
) -> None:
    """Print what was learned and where it is, write the contact sheet, say how to go on."""
    rows = [
        (
            job.entry.category,
            f"{job.bg_lambda:g}",
            states.get(job.folder, "learned"),
            final_loss(job),
            str(job.folder),
        )
        for job in jobs
    ]
    table("embeddings", ("object", "bg_lambda", "state", "loss", "folder"), rows)
    share = launched_share()
    if is_worker() or not (share is None or share.is_main):
        return
    path = sheet_path(run.dataset_dir, "1_inversion")
    if not run.no_sheet and write_inversion_sheet(path, objects):
        say(f"contact sheet: {path}")
    if len(objects[0]) > 1:
        there = any(embedding_file(run.dataset_dir, jobs[0].entry).exists() for jobs in objects)
        extra = " and --overwrite" if there else ""
        say(
            "to pick: look at the sheet, then run this again with the one --bg_lambda you like"
            f"{extra}; its embedding is copied to where step 2 looks for it"
        )


if __name__ == "__main__":
    exit_with(main)

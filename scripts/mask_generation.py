"""Step 3: turn the heatmaps of the synthetic images into masks, with a few-shot segmenter."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aligndiff.data.layout import sheet_path
from aligndiff.data.prompt_bank import load_prompt_bank
from aligndiff.data.refinement_files import begin
from aligndiff.data.refinement_plan import (
    RefinementConfig,
    RefinementPlan,
    check_settings,
    count_outcomes,
    plan_refinements,
)
from aligndiff.data.refinement_sheet import write_refinement_sheet
from aligndiff.ground.console import progress, quiet_libraries, say, table, warn
from aligndiff.ground.errors import AlignDiffError, exit_with
from aligndiff.ground.files import check_writable
from aligndiff.ground.launch import Share, is_worker, launched_share
from aligndiff.models.device import known_precision
from aligndiff.models.weights import Chosen, resolve_checkpoint
from aligndiff.stages.refinement import LOOKS, refine_entry
from scripts.options import (
    RunOptions,
    add_config_options,
    config_from_args,
    launch_if_needed,
    make_parser,
)

MODULE = "scripts.mask_generation"
EPILOG = (
    "Running it again does what is missing: an entry with new samples is refined anew, as its "
    "samples decide together. Several GPUs take an entry each."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, refine what is missing, report; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = make_parser(MODULE, __doc__, EPILOG)
    parser.add_argument(
        "--fss_ckpt_path",
        metavar="FILE",
        help="'tiny', or an SSP checkpoint (default: the one of dataset.json)",
    )
    add_config_options(parser, RefinementConfig, "masks")
    args = parser.parse_args(argv)
    # Built once more below, with the prompt bank's defaults: what is typed is checked first.
    run, _ = config_from_args(RunOptions, args), config_from_args(RefinementConfig, args)

    quiet_libraries()
    bank = load_prompt_bank(run.dataset_dir, run.categories)
    config = config_from_args(
        RefinementConfig,
        args,
        heatmap_threshold=bank.defaults.heatmap_threshold,
        consensus_iou_threshold=bank.defaults.consensus_iou_threshold,
    )
    chosen = resolve_checkpoint(args.fss_ckpt_path, bank.defaults.fss_ckpt_path)
    run = replace(run, precision=known_precision(run.precision, run.device))
    plans = plan_refinements(bank, config, Path(chosen.location), run.precision)
    if not run.overwrite:
        check_settings(plans)
    sheet = [] if run.no_sheet else [sheet_path(bank.root, "3_masks")]
    check_writable([*(path for plan in plans for path in plan.place.outputs()), *sheet])
    say(f"segmenter checkpoint: {chosen}")
    _tell_what_is_left_out(plans, len(bank.entries))

    # The share is taken of all plans: the others may finish some of theirs while we look.
    mine = (launched_share() or Share(0, 1)).of(plans)
    missing = [plan for plan in mine if run.overwrite or not plan.is_done]
    failed = _refine(missing, chosen, config, run, argv)
    return max(_report(plans, mine, run), min(failed, 1))


def _tell_what_is_left_out(plans: Sequence[RefinementPlan], entries: int) -> None:
    if not is_worker() and len(plans) < entries:
        warn(f"note: {entries - len(plans)} of {entries} entries have no images, left out")
    for plan in plans:
        if not is_worker() and plan.unfinished:
            warn(
                f"note: {plan.entry.id}: {plan.unfinished} images of earlier settings, left out; "
                "step 2 has not replaced them yet"
            )


def _refine(
    missing: Sequence[RefinementPlan],
    chosen: Chosen,
    config: RefinementConfig,
    run: RunOptions,
    argv: Sequence[str],
) -> int:
    """Refine entries, here or in one process per device; returns the number of failures."""
    if not missing:
        say("nothing to do: every image has its verdict")
        return 0
    from aligndiff.models.device import choose_device, choose_dtype
    from aligndiff.models.segmenter import SSPSegmenter, feature_memory
    from aligndiff.models.ssp_checkpoint import load_ssp

    # Whatever can be wrong with these is found before the earlier masks go.
    device = choose_device(run.device)
    dtype = choose_dtype(run.precision, device)
    checkpoint = load_ssp(Path(chosen.location))
    stamps: dict[Path, int] = {}
    for plan in missing:
        begin(plan)
        paths = [plan.place.record_path(sample.index) for sample in plan.samples]
        stamps |= {path: path.stat().st_mtime_ns for path in paths}

    def count_done() -> int:
        return sum(path.stat().st_mtime_ns != stamp for path, stamp in stamps.items())

    failed_workers = launch_if_needed(MODULE, run, argv, count_done, len(stamps), "segmenting")
    if failed_workers is not None:
        return failed_workers
    segmenter = SSPSegmenter(
        checkpoint.network, checkpoint.input_side, device, dtype, config.batch_size
    )
    memory = feature_memory(device)
    import torch

    try:
        with progress("segmenting (two looks an image)", LOOKS * len(stamps)) as advance:
            return sum(refine_entry(plan, segmenter, config, memory, advance) for plan in missing)
    except torch.OutOfMemoryError as error:
        raise AlignDiffError(
            "out of memory while segmenting: use a smaller --batch_size"
        ) from error


def _report(
    plans: Sequence[RefinementPlan], mine: Sequence[RefinementPlan], run: RunOptions
) -> int:
    """Print what became of the samples, write the contact sheet; returns 1 when one failed, else 0.

    Counts what lies on disk, so that it tells the same whoever made it.
    """
    rows = count_outcomes(mine)
    columns = ("class", "agreed", "guessed", "rejected", "failed", "mean IoU")
    cells = [(r.category, r.agreed, r.guessed, r.rejected, r.failed, r.mean_iou) for r in rows]
    share = launched_share()
    title = "masks" if share is None else f"masks of process {share.rank} of {share.world_size}"
    table(title, columns, cells)
    for plan in mine:
        say(f"masks of {plan.entry.id}: {plan.place.mask_path(0).parent}")
    sheet = sheet_path(run.dataset_dir, "3_masks")
    if not run.no_sheet and not is_worker() and (share is None or share.is_main):
        write_refinement_sheet(run.dataset_dir, plans)
        say(f"contact sheet: {sheet}")
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    exit_with(main)

"""Step 3: turn the heatmaps of the synthetic images into masks, with a few-shot segmenter."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.device import known_precision
from aligndiff.core.exits import exit_with, overwriting
from aligndiff.core.files import check_writable, remove_leftovers
from aligndiff.core.options import add_config_options, config_from_args
from aligndiff.core.ranks import is_first, is_worker
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.refinement.config import RefinementConfig, ShardOptions
from aligndiff.refinement.files import clear_masks, pack_refined
from aligndiff.refinement.plan import (
    RefinementPlan,
    check_settings,
    count_outcomes,
    plan_refinements,
)
from aligndiff.refinement.refine import LOOKS, refine_entry
from aligndiff.refinement.sheet import write_refinement_sheet
from aligndiff.runner.group import only_run_in
from aligndiff.runner.local import read_assignment
from aligndiff.runner.options import RunOptions, make_parser
from aligndiff.runner.step import carry_out, check_device, my_units, totals_by_class
from aligndiff.segmenters.load import resolve_checkpoint

if TYPE_CHECKING:
    from aligndiff.segmenters.ssp.checkpoint import SSPCheckpoint
    from aligndiff.segmenters.ssp.segmenter import SSPSegmenter

MODULE = "scripts.mask_generation"
EPILOG = (
    "Running it again does what is missing: an entry with new samples is refined anew, as its "
    "samples decide together. Several GPUs take an entry each."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, refine what is missing, report; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args, run, bank = _read(argv)
    overwrites = run.overwrite or read_assignment().overwrites
    with overwriting(overwrites), only_run_in(bank.root) as group:
        work = _plan(args, run, bank)
        remove_leftovers(work.outputs)
        say(f"segmenter checkpoint: {work.chosen}")
        _tell_what_is_left_out(work.units, len(bank.entries))
        # The share is taken of all plans: the others may finish some of theirs while we look.
        mine = my_units(work)
        told = work.units if group.reports_all else mine
        missing = [plan for plan in mine if run.overwrite or not plan.is_done]
        if not run.overwrite and all(plan.is_done for plan in told):
            say("nothing to do: every image has its verdict")
        code = carry_out(work, missing, MODULE, argv, work.run, "segmenting")
        size = config_from_args(ShardOptions, args).shard_size
        if size is not None and not is_worker():  # what workers refined is packed by their parent
            code = max(code, min(pack_refined(mine, size), 1))
        with group.finish():
            return max(code, _report(work, group.title("masks"), told))


def open_work(argv: Sequence[str]) -> Refining:
    """What the command line asks for, for one process among others that do it."""
    return _plan(*_read(argv))


@dataclass(frozen=True)
class Refining:
    """A checked command line: what to refine, with which segmenter (`launching.Work`).

    A unit is an entry: its samples decide together.
    """

    run: RunOptions
    config: RefinementConfig
    chosen: ModelChoice
    units: list[RefinementPlan]

    @property
    def outputs(self) -> list[Path]:
        """One file of each folder that is written into."""
        sheet = [] if self.run.no_sheet else [sheet_path(self.run.dataset_dir, "3_masks")]
        return [*(path for plan in self.units for path in plan.place.outputs()), *sheet]

    def weight(self, unit: RefinementPlan) -> int:
        return LOOKS * len(unit.samples)

    def category(self, unit: RefinementPlan) -> str:
        return unit.entry.category

    def make_room(self) -> None:
        check_device(self.run)
        self._checkpoint()
        for plan in self.units:
            if self.run.overwrite or not plan.is_done:
                clear_masks(plan)

    def do(self, units: Sequence[RefinementPlan]) -> None:
        from aligndiff.segmenters.base import feature_memory

        segmenter = self._segmenter
        memory = feature_memory(segmenter.device)
        for plan in units:
            clear_masks(plan)
        totals = totals_by_class(self, units)
        with progress("segmenting (two looks an image)", totals) as advance:
            for plan in units:
                refine_entry(plan, segmenter, self.config, memory, advance)

    @cached_property
    def _segmenter(self) -> SSPSegmenter:
        from aligndiff.core.device import choose_device, choose_dtype
        from aligndiff.segmenters.ssp.segmenter import SSPSegmenter

        device = choose_device(self.run.device)
        dtype = choose_dtype(self.run.precision, device)
        checkpoint = self._checkpoint()
        return SSPSegmenter(
            checkpoint.network, checkpoint.input_side, device, dtype, self.config.batch_size
        )

    def _checkpoint(self) -> SSPCheckpoint:
        """What can be wrong, loaded before the earlier masks go."""
        from aligndiff.segmenters.ssp.checkpoint import load_ssp

        return load_ssp(Path(self.chosen.location))


def _read(argv: Sequence[str]) -> tuple[argparse.Namespace, RunOptions, PromptBank]:
    """The command line and the prompt bank, checked."""
    parser = make_parser(MODULE, __doc__ or "", EPILOG)
    parser.add_argument(
        "--fss_ckpt_path",
        metavar="FILE",
        help="'tiny', or an SSP checkpoint (default: the one of dataset.json)",
    )
    add_config_options(parser, RefinementConfig, "masks")
    add_config_options(parser, ShardOptions, "files")
    args = parser.parse_args(argv)
    # Built once more in `_plan`, with the prompt bank's defaults: what is typed is checked first.
    run, _ = config_from_args(RunOptions, args), config_from_args(RefinementConfig, args)
    config_from_args(ShardOptions, args)

    quiet_libraries()
    return args, run, load_prompt_bank(run.dataset_dir, run.categories)


def _plan(args: argparse.Namespace, run: RunOptions, bank: PromptBank) -> Refining:
    """Everything else, checked against what is on disk; loads no model."""
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
    work = Refining(run, config, chosen, plans)
    check_writable(work.outputs)
    return work


def _tell_what_is_left_out(plans: Sequence[RefinementPlan], entries: int) -> None:
    if not is_first():
        return
    if len(plans) < entries:
        warn(f"note: {entries - len(plans)} of {entries} entries have no images, left out")
    for plan in plans:
        if plan.unfinished:
            warn(
                f"note: {plan.entry.id}: {plan.unfinished} images of earlier settings, left out; "
                "step 2 has not replaced them yet"
            )


def _report(work: Refining, title: str, plans: Sequence[RefinementPlan]) -> int:
    """Print what became of their samples, write the sheet; returns 1 when one failed, else 0.

    Counts what lies on disk, so that it tells the same whoever made it.
    """
    rows = count_outcomes(plans)
    columns = ("class", "agreed", "guessed", "rejected", "failed", "mean IoU")
    cells = [(r.category, r.agreed, r.guessed, r.rejected, r.failed, r.mean_iou) for r in rows]
    table(title, columns, cells)
    for plan in plans:
        packed = plan.place.shard_index.exists()
        folder = plan.place.shards if packed else plan.place.mask_path(0).parent
        say(f"masks of {plan.entry.id}: {folder}")
    if not work.run.no_sheet and is_first():
        write_refinement_sheet(work.run.dataset_dir, work.units)
        say(f"contact sheet: {sheet_path(work.run.dataset_dir, '3_masks')}")
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    exit_with(main)

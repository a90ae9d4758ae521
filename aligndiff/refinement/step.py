"""Step 3 under the driver: masks from heatmaps, by a few-shot segmenter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from aligndiff.core.console import progress, say, table, warn
from aligndiff.core.options import CommandLine
from aligndiff.core.ranks import is_first, is_worker
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.diffusion.load import check_model, load_diffusion_model
from aligndiff.masks.company import Judge
from aligndiff.masks.edges.base import EdgeRefiner
from aligndiff.masks.edges.table import check_edges, edge_settings
from aligndiff.refinement.config import RefinementConfig, ShardOptions
from aligndiff.refinement.denoising import Judging, choose_judging
from aligndiff.refinement.files import clear_masks, pack_refined
from aligndiff.refinement.plan import (
    RefinementPlan,
    check_settings,
    count_outcomes,
    plan_refinements,
)
from aligndiff.refinement.refine import PASSES, refine_entry
from aligndiff.refinement.sheet import write_refinement_sheet
from aligndiff.runner import step as runner
from aligndiff.runner.options import RunOptions
from aligndiff.runner.step import Step, check_device, run_step, totals_by_class
from aligndiff.segmenters.base import Segmenter, feature_memory
from aligndiff.segmenters.load import (
    SegmenterChoice,
    SegmenterOptions,
    choose_segmenter,
    load_segmenter,
)


class Refinement:
    """What to refine, with which segmenter (`runner.step.Work`).

    A unit is an entry: its samples decide together.
    """

    def __init__(
        self,
        run: RunOptions,
        config: RefinementConfig,
        shards: ShardOptions,
        segmenter: SegmenterChoice,
        units: Sequence[RefinementPlan],
        entries: int,
        judging: Judging | None,
    ) -> None:
        self.run, self.config, self.shards = run, config, shards
        self.segmenter, self.units, self.entries = segmenter, units, entries
        self.judging = judging

    @property
    def outputs(self) -> list[Path]:
        sheet = [] if self.run.no_sheet else [sheet_path(self.run.dataset_dir, "3_masks")]
        return [*(path for plan in self.units for path in plan.place.outputs()), *sheet]

    @property
    def weights_line(self) -> str:
        asked = f"; regions judged by {self.judging.model}" if self.judging else ""
        return f"segmenter: {self.segmenter}{asked}"

    def weight(self, unit: RefinementPlan) -> int:
        return PASSES * len(unit.samples)

    def category(self, unit: RefinementPlan) -> str:
        return unit.entry.category

    def survey(self, numbers: Sequence[int], reported: Sequence[int]) -> tuple[list[int], None]:
        """Says what is left out, and that nothing is to be done where that is so."""
        if is_first():
            self._warn_of_left_out()
        missing = [n for n in numbers if self.run.overwrite or not self.units[n].is_done]
        if not self.run.overwrite and all(self.units[n].is_done for n in reported):
            say("nothing to do: every image has its verdict")
        return missing, None

    def make_room(self) -> None:
        check_device(self.run)
        load_segmenter(self.segmenter, "cpu", "float32")  # what is wrong with it, if anything
        if self.judging:
            check_model(self.judging.model)
        for plan in self.units:
            if self.run.overwrite or not plan.is_done:
                self._clear(plan)

    def do(self, units: Sequence[RefinementPlan]) -> None:
        segmenter = self._loaded
        memory = feature_memory(segmenter.device)
        for plan in units:
            self._clear(plan)
        with progress("segmenting (two passes)", totals_by_class(self, units)) as advance:
            for plan in units:
                judge = self._judge(plan.entry.category)
                refine_entry(plan, segmenter, self.config, memory, advance, self._edges, judge)

    def finish(self, numbers: Sequence[int]) -> int:
        """Pack what is refined; of workers their parent does it."""
        if self.shards.shard_size is None or is_worker():
            return 0
        plans = [self.units[number] for number in numbers]
        totals = Counter[str]()
        for plan in plans:
            totals[plan.entry.category] += len(plan.samples)
        with progress("packing", totals) as advance:
            return min(pack_refined(plans, self.shards.shard_size, advance), 1)

    def report(self, title: str, numbers: Sequence[int], messages: Sequence[None]) -> int:
        """Print what became of the samples, and write the sheet.

        Counts what lies on disk, so that it tells the same whoever made it.
        """
        plans = [self.units[number] for number in numbers]
        rows = count_outcomes(plans)
        columns = ("class", "consensus", "pseudo-label", "rejected", "failed", "mean IoU")
        cells = [
            (r.category, r.consensus, r.pseudo_label, r.rejected, r.failed, r.mean_iou)
            for r in rows
        ]
        table(title, columns, cells)
        for plan in plans:
            packed = plan.place.shard_index.exists()
            folder = plan.place.shards if packed else plan.place.mask_path(0).parent
            say(f"masks of {plan.entry.id}: {folder}")
        if not self.run.no_sheet and is_first():
            write_refinement_sheet(self.run.dataset_dir, self.units)
            say(f"contact sheet: {sheet_path(self.run.dataset_dir, '3_masks')}")
        return 1 if any(row.failed for row in rows) else 0

    @cached_property
    def _loaded(self) -> Segmenter:
        run = self.run
        return load_segmenter(self.segmenter, run.device, run.precision, self.config.batch_size)

    @cached_property
    def _edges(self) -> Sequence[EdgeRefiner]:
        config = self.config
        return edge_settings(config.refine_edges, config.edge_model, self.run.device)

    @cached_property
    def _diffusion_model(self) -> Any:
        assert self.judging is not None
        return load_diffusion_model(self.judging.model, self.run.device, self.run.precision)

    def _judge(self, category: str) -> Judge | None:
        return self.judging.judge(self._diffusion_model, category) if self.judging else None

    def _clear(self, plan: RefinementPlan) -> None:
        if count := clear_masks(plan):
            say(f"unpacked {plan.entry.id}: its {count} samples are loose files again")

    def _warn_of_left_out(self) -> None:
        if len(self.units) < self.entries:
            without = self.entries - len(self.units)
            warn(f"note: {without} of {self.entries} entries have no images, left out")
        for plan in self.units:
            if plan.unfinished:
                warn(
                    f"note: {plan.entry.id}: {plan.unfinished} images of earlier settings, left "
                    "out; step 2 has not replaced them yet"
                )


def _plan(line: CommandLine, run: RunOptions, bank: PromptBank) -> Refinement:
    config, shards = line.config(RefinementConfig, bank.defaults), line.config(ShardOptions)
    check_edges(config.refine_edges, config.edge_model)
    segmenter = choose_segmenter(line.config(SegmenterOptions), bank.defaults.fss_ckpt_path)
    judging = choose_judging(config, bank)
    judged = judging.settings if judging else {}
    units = plan_refinements(bank, config, segmenter.identity, run.precision, judged)
    if not run.overwrite:
        check_settings(units)
    return Refinement(run, config, shards, segmenter, units, len(bank.entries), judging)


STEP = Step(
    name="mask_generation",
    module=__name__,
    description="Step 3: turn the heatmaps of the synthetic images into masks, with a few-shot "
    "segmenter.",
    epilog="Running it again does what is missing: an entry with new samples is refined anew, as "
    "its samples decide together. Several GPUs take an entry each.",
    options={"segmenter": SegmenterOptions, "masks": RefinementConfig, "files": ShardOptions},
    activity="segmenting",
    product="masks",
    plan=_plan,
)


def main(argv: Sequence[str], prog: str | None = None) -> int:
    """Step 3 as a command; returns the exit code."""
    return run_step(STEP, argv, prog)


def open_work(argv: Sequence[str]) -> runner.Work:
    """The work of a command line, for an actor of a cluster."""
    return runner.open_work(STEP, argv)

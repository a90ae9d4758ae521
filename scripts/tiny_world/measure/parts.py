"""The parts of the measurement: each runs what it needs, judges it and adds to the findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aligndiff.core.console import say
from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_image
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.refinement.config import RefinementConfig
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter, load_segmenter
from scripts.tiny_world.measure.adapt import adapt_lines, measure_adapted
from scripts.tiny_world.measure.company import company_lines
from scripts.tiny_world.measure.datasets import swept_name
from scripts.tiny_world.measure.gain import GainJob, measure_gain
from scripts.tiny_world.measure.judge import Judge, judge_accuracy
from scripts.tiny_world.measure.lines import (
    faithful_line,
    gain_lines,
    heatmap_lines,
    judge_lines,
    look_lines,
    mask_lines,
    no_gain_line,
    sweep_lines,
)
from scripts.tiny_world.measure.picture import gain_picture
from scripts.tiny_world.measure.rare import rare_lines, rare_samples
from scripts.tiny_world.measure.report import Findings
from scripts.tiny_world.measure.runs import (
    Clock,
    MeasurementFolders,
    MeasurementSize,
    Scripts,
    draw_gain,
    draw_objects,
    draw_plain,
    draw_sweep,
)
from scripts.tiny_world.measure.samples import (
    JudgedSample,
    judge_dataset,
    look_figures,
    mask_figures,
    plain_figures,
)
from scripts.tiny_world.measure.sheet import SheetGroup
from scripts.tiny_world.world.example import EXAMPLES

SHOWN = 4  # samples of each kind on the sheet


@dataclass(frozen=True)
class Measurement:
    """What the parts share."""

    judge: Judge
    scripts: Scripts
    work: MeasurementFolders
    effort: MeasurementSize
    clock: Clock
    lines: Collection[int]  # of the list, those that are asked for
    judge_file: Path  # where the judge comes from
    findings: Findings = field(default_factory=Findings)
    groups: list[SheetGroup] = field(default_factory=list)  # samples to look at

    def run(self) -> None:
        """Everything that is asked for."""
        wanted = set(self.lines)
        with self.clock.part("the judge on fresh scenes"):
            accuracy = judge_accuracy(self.judge, self.effort.judge_scenes)
            self.findings.lines += judge_lines(accuracy, self.effort.judge_scenes)
        if wanted & {1, 2, 3}:
            with self.clock.part("plain prompts"):
                draw_plain(self.scripts, self.work, self.effort, self.lines)
                self._plain(wanted & {1, 3})
        if wanted & {2, 4, 5}:
            with self.clock.part("example objects"):
                draw_objects(self.scripts, self.work, self.effort, refine=bool(wanted & {4, 5}))
                self._objects(wanted & {2, 4})
        if 5 in wanted:
            with self.clock.part("draws of the gain"):
                draw_gain(self.scripts, self.work, self.effort)
            with self.clock.part("the gain"):
                self._gain()
        if 6 in wanted:
            with self.clock.part("bg_lambda"):
                self._sweep()
        if 7 in wanted:
            with self.clock.part("company"):
                self._company()
        if 8 in wanted:
            with self.clock.part("--adapt"):
                self.findings.adapted += measure_adapted(
                    self.judge, self.scripts, self.work, self.effort
                )
                self.findings.lines += adapt_lines(self.findings.adapted)
        if 9 in wanted:
            with self.clock.part("the rare class"):
                rare = rare_samples(self.judge, self.scripts, self.work, self.effort)
                self.findings.lines += rare_lines(rare)
                for kind, samples in rare.items():
                    self._show(f"the rare class, --adapt {kind}", _some(samples), describe)
        self.findings.lines.sort(key=lambda line: line.group)

    def _plain(self, wanted: Collection[int]) -> None:
        """Lines 1 and 3."""
        if not wanted:
            return
        found, threshold = self.findings, _heatmap_threshold(self.work)
        samples = judge_dataset(self.judge, self.work.plain, self.effort.plain_images)
        for name in dict.fromkeys(sample.category for sample in samples):
            found.categories.append(plain_figures(name, _of(name, samples), threshold))
        everything = plain_figures("all", samples, threshold)
        if 1 in wanted:
            found.lines.append(faithful_line(everything))
            strange = [sample for sample in samples if not sample.recognised]
            self._show("plain prompts, not recognised", _some(strange), describe)
        if 3 in wanted:
            found.lines += heatmap_lines(everything)

            def iou(sample: JudgedSample) -> float:
                return sample.heatmap_iou(threshold)

            known = [sample for sample in samples if sample.recognised]
            self._show_best_and_worst("plain prompts, heatmaps", known, iou)

    def _objects(self, wanted: Collection[int]) -> None:
        """Lines 2 and 4."""
        if not wanted:
            return
        learned = judge_dataset(self.judge, self.work.objects, self.effort.learned_images)
        self._show("learned word, as they come", _some(learned), describe)
        if 2 in wanted:
            self._looks(learned)
        if 4 in wanted:
            self.findings.lines += mask_lines(mask_figures("all", learned))
            for name in EXAMPLES:
                self.findings.masks.append(mask_figures(name, _of(name, learned)))
            kept = [sample for sample in learned if sample.mask is not None]
            self._show_best_and_worst("learned word, masks", kept, lambda s: s.mask_iou)

    def _looks(self, learned: Sequence[JudgedSample]) -> None:
        """Line 2."""
        found = self.findings
        word = judge_dataset(self.judge, self.work.plain, self.effort.word_images, EXAMPLES)
        found.lines += look_lines(look_figures("plain", word), look_figures("learned", learned))
        for kind, samples in (("plain word", word), ("learned word", learned)):
            for name in EXAMPLES:
                found.looks.append(look_figures(f"{name}, {kind}", _of(name, samples)))
        strange = [s for s in learned if not s.verdict.wears(EXAMPLES[s.category])]
        self._show("learned word, another look", _some(strange), describe)

    def _gain(self) -> None:
        """Line 5; what is missing for it, such as masks that were all rejected, is said."""
        size = self.effort.gain
        job = GainJob(
            tuple(map(self.work.gain, range(size.draws))),
            tuple(map(self.work.few_prompts, range(size.draws))),
            self.work.objects,
            size,
            self.scripts.fss_ckpt_path,
            self.judge_file,
            self.work.trainings,
        )
        try:
            gain = measure_gain(job)
        except InputError as error:
            say(f"  {error}")
            self.findings.lines.append(no_gain_line())
            return
        self.findings.gain = gain
        write_image(self.work.folder / "gain_picture.png", gain_picture(job, gain))
        self.findings.lines += gain_lines(gain, size.samples)

    def _sweep(self) -> None:
        """Line 6."""
        draw_sweep(self.scripts, self.work, self.effort)
        samples = judge_dataset(self.judge, self.work.swept, self.effort.swept_images)
        for value in self.effort.bg_lambdas:
            folders = {swept_name(category, value) for category in EXAMPLES}
            own = [sample for sample in samples if sample.folder in folders]
            self.findings.swept_looks.append(look_figures(f"{value:g}", own))
            self.findings.swept_masks.append(mask_figures(f"{value:g}", own))
        self.findings.lines += sweep_lines(self.findings.swept_looks, self.findings.swept_masks)

    def _company(self) -> None:
        """Line 7."""
        options = SegmenterOptions(fss_ckpt_path=self.scripts.fss_ckpt_path)
        segmenter = load_segmenter(choose_segmenter(options), "cpu", "float32")
        self.findings.lines += company_lines(segmenter, self.effort.company_scenes)

    def _show(
        self, title: str, samples: Sequence[JudgedSample], note: Callable[[JudgedSample], str]
    ) -> None:
        self.groups.append(SheetGroup(title, samples, [note(sample) for sample in samples]))

    def _show_best_and_worst(
        self, title: str, samples: Sequence[JudgedSample], iou: Callable[[JudgedSample], float]
    ) -> None:
        ranked = sorted(samples, key=iou, reverse=True)

        def note(sample: JudgedSample) -> str:
            source = f", {sample.source}" if sample.source else ""
            return f"{sample.category} {sample.index}: IoU {iou(sample):.2f}{source}"

        self._show(f"{title}: the best", ranked[:SHOWN], note)
        self._show(f"{title}: the worst", ranked[-SHOWN:], note)


def describe(sample: JudgedSample) -> str:
    """What the judge took it for: "fish 3: striped orange and white car"."""
    verdict = sample.verdict
    colours = " and ".join(filter(None, (verdict.colour, verdict.second)))
    return f"{sample.category} {sample.index}: {verdict.texture} {colours} {verdict.category}"


def _of(category: str, samples: Sequence[JudgedSample]) -> list[JudgedSample]:
    return [sample for sample in samples if sample.category == category]


def _some(samples: Sequence[JudgedSample], count: int = 2 * SHOWN) -> list[JudgedSample]:
    """So many at equal distances, so that every category is seen."""
    picks = np.linspace(0, len(samples) - 1, min(count, len(samples)))
    return [samples[round(pick)] for pick in picks]


def _heatmap_threshold(work: MeasurementFolders) -> float:
    """The one that step 3 would take."""
    said = load_prompt_bank(work.plain).defaults.heatmap_threshold
    return RefinementConfig().heatmap_threshold if said is None else said

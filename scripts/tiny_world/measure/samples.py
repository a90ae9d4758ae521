"""Samples that the scripts left on disk, each with the judge's verdict, and their shares and means.

A share or mean of nothing is None.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import MaskSource
from aligndiff.dataset.samples import heatmap_findings, read_sample, sample_indices
from scripts.tiny_world.measure.judge import Judge, JudgeVerdict, judge_images
from scripts.tiny_world.world.example import EXAMPLES


@dataclass(frozen=True)
class JudgedSample:
    """A synthetic image, what the steps say of it, and what the judge says.

    Attributes:
        category: the one of its prompt.
        folder: of the entry's support pairs, which tells the values of a sweep apart.
        index: its number within the entry.
        image: uint8 RGB (h, w, 3).
        heatmap: uint8 (h, w).
        mask: bool (h, w) from step 3; None for a rejected sample, and before step 3.
        source: of the mask.
        verdict: the judge's; its mask and look are of the prompt's category.
    """

    category: str
    folder: str
    index: int
    image: np.ndarray
    heatmap: np.ndarray
    mask: np.ndarray | None
    source: MaskSource | None
    verdict: JudgeVerdict
    heatmap_threshold: float | None = None  # that step 2 found for it, if any
    likeness: float | None = None  # of step 3

    @property
    def recognised(self) -> bool:
        """Whether the main object is of the prompt's category."""
        return self.verdict.category == self.category and bool(self.verdict.mask.any())

    @property
    def mask_iou(self) -> float:
        """Of the mask of step 3 with the judge's; 0 where either is missing."""
        return 0.0 if self.mask is None else overlap(self.mask, self.verdict.mask)

    def heatmap_iou(self, threshold: float) -> float:
        """Of the heatmap above its own threshold, else ``threshold``, with the judge's mask."""
        own = threshold if self.heatmap_threshold is None else self.heatmap_threshold
        return overlap(self.heatmap > own * 255, self.verdict.mask)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks, bool (h, w); 0 when both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def judge_dataset(
    judge: Judge, dataset: Path, count: int, categories: Collection[str] = ()
) -> list[JudgedSample]:
    """The first ``count`` samples of every entry (of these categories, if any are named)."""
    bank = load_prompt_bank(dataset, tuple(categories))
    return [
        sample
        for entry in bank.entries
        for sample in _judge_entry(judge, EntryFolder(bank.root, entry), count)
    ]


def _judge_entry(judge: Judge, place: EntryFolder, count: int) -> list[JudgedSample]:
    samples = [read_sample(place, index) for index in sample_indices(place) if index < count]
    if not samples:
        return []
    images = [sample.read_image() for sample in samples]
    category, found = place.entry.category, heatmap_findings(place)
    verdicts = judge_images(judge, np.stack(images), category)
    return [
        JudgedSample(
            category=category,
            folder=place.entry.support_dir,
            index=sample.record.index,
            image=image,
            heatmap=sample.read_heatmap(),
            mask=sample.read_mask() if sample.record.status == "refined" else None,
            source=sample.record.mask_source,
            verdict=verdict,
            heatmap_threshold=None if found is None else found.threshold,
            likeness=sample.record.likeness,
        )
        for sample, image, verdict in zip(samples, images, verdicts, strict=True)
    ]


def mean(values: Iterable[float]) -> float | None:
    """Of numbers, or the share of what is true; None of nothing."""
    found = [float(value) for value in values]
    return sum(found) / len(found) if found else None


@dataclass(frozen=True)
class PlainFigures:
    """Images of plain prompts."""

    name: str
    images: int
    recognised: float | None  # share of the images
    heatmap_iou: float | None  # mean over the recognised ones


def plain_figures(
    name: str, samples: Sequence[JudgedSample], heatmap_threshold: float
) -> PlainFigures:
    known = [sample for sample in samples if sample.recognised]
    return PlainFigures(
        name,
        images=len(samples),
        recognised=mean(sample.recognised for sample in samples),
        heatmap_iou=mean(sample.heatmap_iou(heatmap_threshold) for sample in known),
    )


@dataclass(frozen=True)
class LookFigures:
    """Shares of images that show the right category and wear what the example object wears."""

    name: str
    images: int
    recognised: float | None
    look: float | None  # texture and both colours
    colours: float | None  # both colours, in whatever texture
    texture: float | None  # the texture, in whatever colours


def look_figures(name: str, samples: Sequence[JudgedSample]) -> LookFigures:
    known = [s for s in samples if s.recognised]
    wanted = [EXAMPLES[s.category] for s in known]
    found = [s.verdict for s in known]
    pairs = list(zip(found, wanted, strict=True))

    def share(count: int) -> float | None:
        return count / len(samples) if samples else None

    return LookFigures(
        name,
        images=len(samples),
        recognised=share(len(known)),
        look=share(sum(v.wears(look) for v, look in pairs)),
        colours=share(sum({v.colour, v.second} == {w.colour, w.second} for v, w in pairs)),
        texture=share(sum(v.texture == w.texture for v, w in pairs)),
    )


@dataclass(frozen=True)
class MaskFigures:
    """Masks of step 3: mean IoU with the judge's masks."""

    name: str
    images: int
    kept: int  # images with a mask
    consensus: int
    kept_iou: float | None
    consensus_iou: float | None
    consensus_share: float | None  # of all images


def mask_figures(name: str, samples: Sequence[JudgedSample]) -> MaskFigures:
    kept = [sample for sample in samples if sample.mask is not None]
    agreed = [sample for sample in kept if sample.source == "consensus"]
    return MaskFigures(
        name,
        images=len(samples),
        kept=len(kept),
        consensus=len(agreed),
        kept_iou=mean(sample.mask_iou for sample in kept),
        consensus_iou=mean(sample.mask_iou for sample in agreed),
        consensus_share=len(agreed) / len(samples) if samples else None,
    )

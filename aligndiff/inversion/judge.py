"""A judge of learned embeddings by what every user has: support pairs, a segmenter, heatmaps.

An embedding is good where what is drawn with it is the object (likeness), where heatmap and
segmenter agree on where it is (agreement), and where it stands on many grounds (spread).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import AlignDiffError
from aligndiff.dataset.images import OBJECT, Uint8
from aligndiff.dataset.samples import sample_seed
from aligndiff.dataset.support import SupportPair
from aligndiff.inversion.config import SheetConfig
from aligndiff.inversion.plan import InversionJob
from aligndiff.masks.likeness import SupportLooks, learn_looks
from aligndiff.masks.regions import intersection_over_union

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from aligndiff.diffusion.sampling import GeneratedSample
    from aligndiff.segmenters.base import Encoded, Segmenter

FOREGROUND = 0.4  # object where the segmenter's probability is above this, as in step 3
HEATMAP = 0.4  # object where a heatmap / 255 is, if dataset.json does not say otherwise
DRAWN_AT_ONCE = 4  # always: what is drawn must not depend on the machine


@dataclass(frozen=True)
class Judgement:
    """What is to be said of an embedding, by samples drawn with it.

    Attributes:
        agreement: mean IoU of the segmenter's mask with the heatmap, in [0, 1].
        likeness: mean of the objects to the support's, in [0, 1]; 0 where there is none.
        spread: mean distance of the mean colours of two backgrounds, CIELAB / 100.
    """

    agreement: float
    likeness: float
    spread: float

    @property
    def score(self) -> float:
        """Their product: no scale of theirs counts, only how much better one is than another."""
        return self.agreement * self.likeness * self.spread


@dataclass(frozen=True)
class SupportJudge:
    """Judges samples by the support pairs that a segmenter was taught.

    Attributes:
        heatmap_threshold: object where a heatmap / 255 is above this.
    """

    segmenter: Segmenter
    looks: SupportLooks
    heatmap_threshold: float

    def __call__(self, samples: Sequence[GeneratedSample]) -> Judgement:
        agreements, likenesses, grounds = [], [], []
        for sample in samples:
            (seen,) = self.segmenter.encode([sample.image])
            mask = self.segmenter.segment(seen) > FOREGROUND
            coarse = sample.heatmap > self.heatmap_threshold * 255
            agreements.append(intersection_over_union(mask, coarse))
            likenesses.append(self._likeness(sample.image, seen, mask))
            if not mask.all():
                grounds.append(mean_colour(sample.image, ~mask))
        means = float(np.mean(agreements)), float(np.mean(likenesses))
        return Judgement(*means, mean_distance(grounds))

    def _likeness(self, image: Uint8, seen: Encoded, mask: NDArray[np.bool_]) -> float:
        from aligndiff.segmenters.object_features import object_looks

        if not mask.any():
            return 0.0
        likeness = self.looks.likeness(object_looks(self.segmenter, image, seen, mask))
        return likeness if math.isfinite(likeness) else 0.0


def teach_judge(
    segmenter: Segmenter, support: Sequence[SupportPair], heatmap_threshold: float
) -> SupportJudge:
    """The judge who knows these pairs, one at least."""
    from aligndiff.segmenters.object_features import object_looks

    described, looks = [], []
    for pair in support:
        (seen,) = segmenter.encode([pair.image])
        described.append(segmenter.describe(seen, pair.mask))
        looks.append(object_looks(segmenter, pair.image, seen, pair.mask == OBJECT))
    segmenter.set_support(described)
    return SupportJudge(segmenter, learn_looks(looks), heatmap_threshold)


def draw_to_judge(
    pipe: DiffusionPipeline, job: InversionJob, config: SheetConfig, count: int
) -> list[GeneratedSample]:
    """Samples of a learned embedding with their heatmaps, drawn as the contact sheet is.

    Their seeds depend on the object and on `seed` alone: the same for every `bg_lambda`. Raises
    AlignDiffError when the model produces NaN.
    """
    from aligndiff.diffusion.adapters import adapted
    from aligndiff.diffusion.embeddings import load_embedding
    from aligndiff.diffusion.families import steps_and_guidance
    from aligndiff.diffusion.pipeline import family_of, image_size, scheduled
    from aligndiff.diffusion.sampling import SamplerSettings, encode_entry, generate

    side, seed = job.settings["resolution"] or image_size(pipe), job.settings["seed"]
    seeds = [sample_seed(seed, job.entry.id, index) for index in range(count)]
    steps, scale = steps_and_guidance(family_of(pipe), config)
    settings = SamplerSettings(steps, scale, (side, side))
    prompt = encode_entry(pipe, job.entry, load_embedding(job.embedding), guided=scale > 1)
    samples: list[GeneratedSample | None] = []
    with scheduled(pipe, config.scheduler), adapted(pipe, job.adaptation):
        for start in range(0, count, DRAWN_AT_ONCE):
            samples += generate(pipe, prompt, seeds[start : start + DRAWN_AT_ONCE], settings)
    drawn = [sample for sample in samples if sample is not None]
    if len(drawn) < count:
        raise AlignDiffError("the model produced NaN while drawing: try --precision float32")
    return drawn


def mean_colour(image: Uint8, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of CIELAB / 100, float32 (3,), over some pixels, bool (h, w), of uint8 (h, w, 3)."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(lab[where].mean(axis=0) / 100, np.float32)


def mean_distance(points: Sequence[NDArray[np.float32]]) -> float:
    """Mean distance of two of the points; 0 of fewer than two."""
    pairs = [*itertools.combinations(points, 2)]
    away = [float(np.linalg.norm(one - other)) for one, other in pairs]
    return float(np.mean(away)) if away else 0.0

"""Algorithm 1's decisions on one query, from segmentation and heatmap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import IGNORE
from aligndiff.masks.health import Ailment, ailments
from aligndiff.masks.regions import intersection_over_union
from aligndiff.masks.score import score_mask
from aligndiff.refinement.config import RefinementConfig

Uint8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Verdict:
    """What one pass over a query came to. Only consensus and pseudo-label have a mask, bool (h, w).

    "uncertain" means that another pass follows; every other verdict is the query's last one.
    """

    index: int
    outcome: Literal["consensus", "pseudo_label", "rejected", "failed", "uncertain"]
    mask: Bool | None = None
    iou: float | None = None  # of the first pass's mask with the heatmap, in [0, 1]
    reason: str | None = None  # of a rejection or a failure
    score: float | None = None  # of the mask, in [0, 1]
    ailments: tuple[Ailment, ...] = ()  # of the mask
    undecided: Bool | None = None  # bool (h, w): pixels that nobody should learn from

    @property
    def labels(self) -> Uint8:
        """The mask as uint8 (h, w) of 0, 1 and, where it is undecided, 255 (ignore)."""
        assert self.mask is not None
        labels = self.mask.astype(np.uint8)
        if self.undecided is not None:
            labels[self.undecided] = IGNORE
        return labels


def first_verdict(
    index: int,
    probability: NDArray[np.float32],
    heatmap: Uint8,
    config: RefinementConfig,
    undecided: Bool | None = None,
) -> Verdict:
    """Algorithm 1, first pass: does the segmenter agree with the heatmap?

    `probability` is float32 (h, w) in [0, 1], `heatmap` uint8 (h, w), `undecided` bool (h, w).
    """
    mask = probability > config.foreground_threshold
    coarse = heatmap > config.heatmap_threshold * 255
    if not mask.any() and not coarse.any():
        return Verdict(index, "rejected", iou=0.0, reason="no object in either mask")
    iou = intersection_over_union(mask, coarse)
    if iou > config.consensus_iou_threshold:
        score = score_mask(probability, mask, coarse).product
        return Verdict(
            index,
            "consensus",
            mask,
            iou,
            score=score,
            ailments=ailments(mask),
            undecided=undecided,
        )
    return Verdict(index, "uncertain", iou=iou)


def second_verdict(
    index: int,
    probability: NDArray[np.float32],
    heatmap: Uint8,
    iou: float | None,
    config: RefinementConfig,
    undecided: Bool | None = None,
) -> Verdict:
    """Algorithm 1, second pass: a pseudo-label, unless the segmenter finds no object."""
    mask = probability > config.pseudo_label_threshold
    if not mask.any():
        return Verdict(index, "rejected", iou=iou, reason="no object in the second pass")
    coarse = heatmap > config.heatmap_threshold * 255
    score = score_mask(probability, mask, coarse).product
    return Verdict(
        index,
        "pseudo_label",
        mask,
        iou,
        score=score,
        ailments=ailments(mask),
        undecided=undecided,
    )

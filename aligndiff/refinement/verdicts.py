"""Algorithm 1's decisions on one query, from segmentation and heatmap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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


def intersection_over_union(first: Bool, second: Bool) -> float:
    """IoU of two masks, bool (h, w), in [0, 1]. Two empty masks give 0: that is no agreement."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def first_verdict(
    index: int, probability: NDArray[np.float32], heatmap: Uint8, config: RefinementConfig
) -> Verdict:
    """Algorithm 1, first pass: does the segmenter agree with the heatmap?

    `probability` is float32 (h, w) in [0, 1], `heatmap` uint8 (h, w).
    """
    mask = probability > config.foreground_threshold
    coarse = heatmap > config.heatmap_threshold * 255
    if not mask.any() and not coarse.any():
        return Verdict(index, "rejected", iou=0.0, reason="no object in either mask")
    iou = intersection_over_union(mask, coarse)
    if iou > config.consensus_iou_threshold:
        return Verdict(index, "consensus", mask, iou)
    return Verdict(index, "uncertain", iou=iou)


def second_verdict(
    index: int, probability: NDArray[np.float32], iou: float | None, config: RefinementConfig
) -> Verdict:
    """Algorithm 1, second pass: a pseudo-label, unless the segmenter finds no object."""
    mask = probability > config.pseudo_label_threshold
    if not mask.any():
        return Verdict(index, "rejected", iou=iou, reason="no object in the second pass")
    return Verdict(index, "pseudo_label", mask, iou)

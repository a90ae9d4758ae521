"""Algorithm 1's decisions on one query, from segmentation and heatmap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import IGNORE
from aligndiff.masks.company import Alone
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
    likeness: float | None = None  # of the object to the support's, in [0, 1]

    @property
    def labels(self) -> Uint8:
        """The mask as uint8 (h, w) of 0, 1 and, where it is undecided, 255 (ignore)."""
        assert self.mask is not None
        labels = self.mask.astype(np.uint8)
        if self.undecided is not None:
            labels[self.undecided] = IGNORE
        return labels


@dataclass(frozen=True)
class JudgedMap:
    """What is known of one query when a verdict is due.

    Attributes:
        alone: the map of the object, without company.
        heatmap: uint8 (h, w).
        undecided: bool (h, w), pixels that nobody should learn from; None: none.
    """

    alone: Alone
    heatmap: Uint8
    undecided: Bool | None = None

    def coarse(self, config: RefinementConfig) -> Bool:
        """Where the heatmap means object, bool (h, w)."""
        return self.heatmap > config.heatmap_threshold * 255

    def score(self, mask: Bool, config: RefinementConfig) -> float:
        """Of a mask, in [0, 1]. Company counts neither in the mask nor in the heatmap."""
        coarse, elsewhere = self.coarse(config), self.alone.elsewhere
        if elsewhere is not None:
            coarse &= ~elsewhere
        return score_mask(self.alone.probability, mask, coarse).product * self.alone.likeness

    def kept(
        self,
        index: int,
        outcome: Literal["consensus", "pseudo_label"],
        mask: Bool,
        iou: float | None,
        config: RefinementConfig,
    ) -> Verdict:
        """The verdict that keeps a mask."""
        return Verdict(
            index,
            outcome,
            mask,
            iou,
            score=self.score(mask, config),
            ailments=ailments(mask),
            undecided=self.undecided,
        )


def first_verdict(
    index: int, judged: JudgedMap, config: RefinementConfig, trust: float | None = None
) -> Verdict:
    """Algorithm 1, first pass: does the segmenter agree with the heatmap?

    By their IoU, as published, or, with `trust`, where the mask's score is above that.
    """
    mask, coarse = judged.alone.probability > config.foreground_threshold, judged.coarse(config)
    if not mask.any() and not coarse.any():
        return Verdict(index, "rejected", iou=0.0, reason="no object in either mask")
    iou = intersection_over_union(mask, coarse)
    kept = judged.kept(index, "consensus", mask, iou, config)
    agreed = iou > config.consensus_iou_threshold if trust is None else (kept.score or 0) > trust
    return kept if agreed else Verdict(index, "uncertain", iou=iou)


def second_verdict(
    index: int, judged: JudgedMap, iou: float | None, config: RefinementConfig
) -> Verdict:
    """Algorithm 1, second pass: a pseudo-label, unless the segmenter finds no object."""
    mask = judged.alone.probability > config.pseudo_label_threshold
    if not mask.any():
        return Verdict(index, "rejected", iou=iou, reason="no object in the second pass")
    return judged.kept(index, "pseudo_label", mask, iou, config)

"""How sure a mask is: three signs that trials found to follow its true quality, multiplied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligndiff.masks.regions import intersection_over_union, largest_share

Bool = NDArray[np.bool_]
STRICT, LOOSE = 0.65, 0.25  # a sure map hardly changes between these thresholds


@dataclass(frozen=True)
class MaskScore:
    """Each in [0, 1], more is surer.

    Attributes:
        stability: IoU of the map above two thresholds.
        heatmap_iou: of the mask with the heatmap.
        largest_share: the part of the mask that its largest region has.
    """

    stability: float
    heatmap_iou: float
    largest_share: float

    @property
    def product(self) -> float:
        return self.stability * self.heatmap_iou * self.largest_share


def stability(probability: NDArray[np.float32]) -> float:
    """IoU of a map, float32 (h, w), above `STRICT` and above `LOOSE`."""
    return intersection_over_union(probability > STRICT, probability > LOOSE)


def score_mask(probability: NDArray[np.float32], mask: Bool, coarse: Bool) -> MaskScore:
    """The score of `mask`, bool (h, w), made from a map and judged by the heatmap's mask."""
    return MaskScore(
        stability(probability), intersection_over_union(mask, coarse), largest_share(mask)
    )

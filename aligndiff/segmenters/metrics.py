"""Segmentation scores by HSNet's protocol: sums of intersection and union, class by class.

Source: the evaluation code of "Hypercorrelation Squeeze for Few-Shot Segmentation" (ICCV 2021),
which its successors share. A class's IoU is one quotient of two sums over all of its images, not
a mean of the images' IoUs. Pixels that the truth calls *ignore* (255) count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import IGNORE, OBJECT, Uint8

Sums = NDArray[np.int64]  # (images, 2): intersection and union of each image


@dataclass
class Overlap:
    """Pixels in which prediction and truth agree, and pixels in which either claims the label."""

    intersection: int = 0
    union: int = 0

    @property
    def iou(self) -> float:
        """In [0, 1]; 0 where there is nothing to find and nothing was found, as in HSNet."""
        return self.intersection / max(self.union, 1)


def overlaps(predicted: NDArray[np.bool_], truth: Uint8) -> tuple[Overlap, Overlap]:
    """Background and foreground overlap of one image.

    `predicted` is bool (h, w), `truth` uint8 (h, w) of 0 background, 1 object, 255 ignore.
    Raises ValueError when their sizes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted is {predicted.shape}, truth {truth.shape} (h, w)")
    counted = truth != IGNORE
    claimed, actual = predicted[counted], truth[counted] == OBJECT
    return _overlap(~claimed, ~actual), _overlap(claimed, actual)


def _overlap(claimed: NDArray[np.bool_], actual: NDArray[np.bool_]) -> Overlap:
    return Overlap(int(np.count_nonzero(claimed & actual)), int(np.count_nonzero(claimed | actual)))


@dataclass
class Scores:
    """Running sums over many images: background and foreground overlap of each class."""

    classes: dict[str, tuple[Overlap, Overlap]] = field(default_factory=dict)

    def add(self, category: str, predicted: NDArray[np.bool_], truth: Uint8) -> None:
        """Count one image of a class; arguments as of `overlaps`."""
        totals = self.classes.setdefault(category, (Overlap(), Overlap()))
        for total, overlap in zip(totals, overlaps(predicted, truth), strict=True):
            total.intersection += overlap.intersection
            total.union += overlap.union

    @property
    def class_ious(self) -> dict[str, float]:
        """Foreground IoU of each class."""
        return {name: foreground.iou for name, (_, foreground) in self.classes.items()}

    @property
    def miou(self) -> float:
        """Mean foreground IoU over the classes that were seen; 0 without any."""
        ious = self.class_ious.values()
        return sum(ious) / len(ious) if ious else 0.0

    @property
    def fb_iou(self) -> float:
        """FB-IoU: background and foreground, each summed over all classes, averaged."""
        background = _total(background for background, _ in self.classes.values())
        foreground = _total(foreground for _, foreground in self.classes.values())
        return (background.iou + foreground.iou) / 2


def _total(parts: Iterable[Overlap]) -> Overlap:
    total = Overlap()
    for part in parts:
        total.intersection += part.intersection
        total.union += part.union
    return total


def class_iou(sums: Sums) -> float:
    """IoU of a class, in [0, 1]: one quotient of the sums over its images."""
    intersection, union = sums.sum(axis=0)
    return float(intersection / max(union, 1))

"""How sure a difference between two scores of the same images is: a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Sums = NDArray[np.int64]  # (images, 2): intersection and union of each image

_COVERAGE = 0.95


def class_iou(sums: Sums) -> float:
    """IoU of a class, in [0, 1]: one quotient of the sums over its images."""
    intersection, union = sums.sum(axis=0)
    return float(intersection / max(union, 1))


def resampled_gains(before: Sums, after: Sums, resamples: int, seed: Sequence[int]) -> Float:
    """By how much a class's IoU grows in each of `resamples` redrawn sets of its images.

    Both sides are redrawn together, as hard images are hard for both: an image that is drawn twice
    counts twice in both. Returns (resamples,) differences of IoUs in [0, 1].
    """
    count = len(before)
    draws = np.random.default_rng(list(seed)).multinomial(
        count, np.full(count, 1 / count), size=resamples
    )
    return _ious(draws @ after) - _ious(draws @ before)


def interval(values: Float) -> tuple[float, float]:
    """The middle 95 % of `values`: their quantiles 0.025 and 0.975."""
    outside = (1 - _COVERAGE) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)


def _ious(sums: Sums) -> Float:
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 1], 1), dtype=np.float64)

"""Figures of "did it help?": a table with intervals, and the mIoU over the number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligndiff.evaluation.support_gain import ClassGain
from aligndiff.segmenters.metrics import Sums, class_iou

Float = NDArray[np.float64]
_COVERAGE = 0.95


@dataclass(frozen=True)
class GainRow:
    """A line of the table: IoUs in [0, 1], `low` and `high` bound the gain with 95 %."""

    category: str
    tests: int
    real: int
    synthetic: int
    without: float
    with_all: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        return self.with_all - self.without


def gain_rows(classes: Sequence[ClassGain], resamples: int, seed: int) -> list[GainRow]:
    """Each class with none and with all of its samples, and the mean of the classes (mIoU).

    The intervals come from redrawing the test images of every class, see `resampled_gains`.
    """
    rows, redrawn = [], []
    for number, gain in enumerate(classes):
        before, after = gain.none[:, 2:], gain.all[:, 2:]
        redrawn.append(resampled_gains(before, after, resamples, (seed, number)))
        sizes = len(gain.task.tests), len(gain.task.real), len(gain.task.samples)
        ious = class_iou(before), class_iou(after)
        rows.append(GainRow(gain.task.category, *sizes, *ious, *interval(redrawn[-1])))
    low, high = interval(np.mean(redrawn, axis=0))
    tests, real, synthetic = (
        sum(getattr(row, name) for row in rows) for name in ("tests", "real", "synthetic")
    )
    without, with_all = (
        float(np.mean([getattr(row, name) for row in rows])) for name in ("without", "with_all")
    )
    return [*rows, GainRow("mIoU", tests, real, synthetic, without, with_all, low, high)]


@dataclass(frozen=True)
class CurvePoint:
    """What so many samples of each class give: the mIoU of every draw, in [0, 1]."""

    samples: int
    mious: tuple[float, ...]
    class_ious: dict[str, float]  # the mean over the draws

    @property
    def miou(self) -> float:
        return float(np.mean(self.mious))

    @property
    def interval(self) -> tuple[float, float]:
        """The middle 95 % of the draws."""
        return interval(np.asarray(self.mious))


def gain_curve(classes: Sequence[ClassGain]) -> list[CurvePoint]:
    """The mIoU over the number of samples; draw by draw, the classes beside each other."""
    points = []
    for number in classes[0].draws:
        ious = {
            gain.task.category: [class_iou(gain.sums[drawn][:, 2:]) for drawn in gain.draws[number]]
            for gain in classes
        }
        mious = np.mean(list(ious.values()), axis=0)
        means = {category: float(np.mean(values)) for category, values in ious.items()}
        points.append(CurvePoint(number, tuple(float(miou) for miou in mious), means))
    return points


def fb_iou(sums: Sequence[Sums]) -> float:
    """FB-IoU of the classes' `sums`: background and object, each over all images, averaged."""
    everything = np.concatenate(sums)
    return (class_iou(everything[:, :2]) + class_iou(everything[:, 2:])) / 2


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

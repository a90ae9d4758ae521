from __future__ import annotations

import numpy as np
import pytest

from aligndiff.evaluation.intervals import interval, resampled_gains
from aligndiff.segmenters.metrics import class_iou

BEFORE = np.array([[1, 2], [0, 4]])
AFTER = np.array([[2, 2], [1, 4]])


def test_a_class_iou_is_one_quotient_of_sums() -> None:
    assert class_iou(BEFORE) == 1 / 6 and class_iou(AFTER) == 1 / 2
    assert class_iou(np.zeros((3, 2), int)) == 0


def test_two_images_have_three_redrawn_gains_with_known_frequencies() -> None:
    gains = resampled_gains(BEFORE, AFTER, 4000, seed=(0,))
    twice_first, each_once, twice_second = 1 - 1 / 2, 1 / 2 - 1 / 6, 1 / 4 - 0
    values, counts = np.unique(np.round(gains, 9), return_counts=True)
    assert values == pytest.approx([twice_second, each_once, twice_first])
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert interval(gains) == pytest.approx((twice_second, twice_first))


def test_both_sides_are_redrawn_together() -> None:
    """Images that differ much but gain alike: unpaired, the interval would be wide."""
    before = np.array([[n, 100] for n in range(0, 100, 5)])
    gains = resampled_gains(before, before + [1, 0], 500, seed=(0,))
    assert interval(gains) == pytest.approx((0.01, 0.01))


def test_the_seed_decides() -> None:
    first, again, other = (resampled_gains(BEFORE, AFTER, 50, (3, n)) for n in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_interval_is_the_middle_95_percent() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))

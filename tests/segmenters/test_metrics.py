from __future__ import annotations

import numpy as np
import pytest

from aligndiff.segmenters.metrics import Scores, overlaps

TRUTH = np.array([[1, 1, 0, 0], [255, 0, 0, 1]], np.uint8)
SAID = np.array([[1, 0, 0, 1], [1, 0, 0, 1]], bool)


def test_overlaps_by_hand_ignoring_255() -> None:
    """Of seven counted pixels two are rightly object and three rightly background."""
    background, foreground = overlaps(SAID, TRUTH)
    assert (foreground.intersection, foreground.union) == (2, 4)
    assert (background.intersection, background.union) == (3, 5)


def test_a_class_is_one_quotient_of_sums_not_a_mean_of_images() -> None:
    scores = Scores()
    scores.add("fish", SAID, TRUTH)
    small = np.array([[1, 0, 0, 0]], np.uint8)
    scores.add("fish", small == 1, small)
    assert scores.class_ious == {"fish": 3 / 5}  # the mean of images would be 3 / 4
    assert scores.fb_iou == pytest.approx((3 / 5 + 6 / 8) / 2)


def test_miou_is_over_classes_and_fb_iou_over_their_sums() -> None:
    scores = Scores()
    scores.add("fish", SAID, TRUTH)
    nothing = np.zeros((1, 6), np.uint8)
    scores.add("dog", np.zeros((1, 6), bool), nothing)
    assert scores.class_ious == {"fish": 0.5, "dog": 0.0}
    assert scores.miou == 0.25
    assert scores.fb_iou == pytest.approx((2 / 4 + 9 / 11) / 2)


def test_nothing_seen_is_nothing_scored() -> None:
    assert Scores().miou == Scores().fb_iou == 0.0


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="predicted is"):
        overlaps(SAID[:1], TRUTH)

"""What looks odd about a mask, and how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.masks.health import ailments
from aligndiff.masks.regions import largest_share
from aligndiff.masks.score import score_mask, stability
from tests.masks.made_masks import bar, disc

FRAME = ~bar(4, 4, 88, 88)
SPECK = bar(90, 90, 2, 2)


@pytest.mark.parametrize(
    ("mask", "odd"),
    [
        (disc(48, 48), ()),
        (np.zeros((96, 96), bool), ("empty",)),
        (np.ones((96, 96), bool), ("full",)),
        (disc(48, 48) & ~disc(48, 48, 6), ("holes",)),
        (disc(48, 48) | SPECK, ("specks",)),
        (FRAME, ("holes", "touches all borders")),
        (disc(20, 20, 10) | disc(70, 70, 10), ("several parts",)),
        (disc(48, 48, 10) & ~SPECK, ()),
    ],
)
def test_ailments(mask: np.ndarray, odd: tuple[str, ...]) -> None:
    assert ailments(mask) == odd


def test_the_score_by_hand() -> None:
    """Ten rows of 0.9 and ten of 0.5; the heatmap knows half of the mask; two equal regions."""
    probability = np.zeros((96, 96), np.float32)
    probability[10:20], probability[40:50] = 0.9, 0.5
    mask = probability > 0.4
    coarse = np.zeros((96, 96), bool)
    coarse[10:20] = True
    score = score_mask(probability, mask, coarse)
    assert (score.stability, score.heatmap_iou, score.largest_share) == (0.5, 0.5, 0.5)
    assert score.product == 0.125


def test_of_nothing_nothing_is_sure() -> None:
    nothing = np.zeros((4, 4), bool)
    assert largest_share(nothing) == 0
    assert stability(nothing.astype(np.float32)) == 0

"""What an embedding is judged by: likeness, agreement and spread of what is drawn with it."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.dataset.support import SupportPair
from aligndiff.diffusion.sampling import GeneratedSample
from aligndiff.inversion.choice import pick
from aligndiff.inversion.judge import Judgement, mean_distance, teach_judge
from tests.masks.made_masks import GROUND, RED, disc
from tests.nearest_colour import NearestColour

PLACES = [disc(30, 40, 14), disc(60, 50, 18), disc(48, 30, 16)]
WINE = (150, 40, 80)
SAND, SLATE = (160, 150, 90), (70, 90, 120)


def flat(mask: np.ndarray, colour: tuple[int, int, int], ground=GROUND) -> np.ndarray:
    image = np.full((*mask.shape, 3), ground, np.uint8)
    image[mask] = colour
    return image


@pytest.fixture(scope="module")
def judge():
    """Knows a red disc on grass, sand and slate."""
    grounds = (GROUND, SAND, SLATE)
    support = [
        SupportPair("real", flat(mask, RED, ground), mask.astype(np.uint8))
        for mask, ground in zip(PLACES, grounds, strict=True)
    ]
    return teach_judge(NearestColour(40), support, 0.4)


def judged(judge, colour, grounds, seen: np.ndarray | None = None) -> Judgement:
    """Of a disc on these grounds, with the heatmap at `seen`, or where the disc is."""
    where = disc(50, 44, 17)
    heatmap = np.asarray(where if seen is None else seen, np.uint8) * np.uint8(255)
    return judge([GeneratedSample(flat(where, colour, ground), heatmap) for ground in grounds])


def test_the_object_itself_on_several_grounds_is_the_best(judge) -> None:
    best = judged(judge, RED, (GROUND, SAND, SLATE))
    other_colour = judged(judge, WINE, (GROUND, SAND, SLATE))
    one_ground = judged(judge, RED, (GROUND, GROUND, GROUND))
    elsewhere = judged(judge, RED, (GROUND, SAND, SLATE), disc(70, 44, 17))
    assert best.agreement == 1 and best.likeness > 0.3 and best.spread > 0.1
    assert best.score == pytest.approx(best.agreement * best.likeness * best.spread)
    assert other_colour.likeness < best.likeness and other_colour.spread == best.spread
    assert one_ground.spread == 0
    assert one_ground.likeness == pytest.approx(best.likeness, abs=0.05)  # edges show the ground
    assert elsewhere.agreement < 0.4
    assert best.score > max(other_colour.score, one_ground.score, elsewhere.score)


def test_without_an_object_nothing_is_like_it_and_nothing_agrees(judge) -> None:
    assert judged(judge, GROUND, (GROUND, GROUND)) == Judgement(0, 0, 0)


def test_of_values_that_are_as_good_the_usual_one_is_taken() -> None:
    assert pick({0.1: 0.5, 0.6: 0.3, 1.0: 0.4}) == 0.1
    assert pick({0.1: 0.5, 0.6: 0.495, 1.0: 0.3}) == 0.6
    assert pick({0.0: 0.0, 1.0: 0.0}) == 1.0  # nothing was the object with any of them


def test_the_spread_of_points_is_their_mean_distance() -> None:
    points = [np.array(at, np.float32) for at in ((0, 0, 0), (3, 4, 0), (0, 0, 0))]
    assert mean_distance(points) == pytest.approx(10 / 3)
    assert mean_distance(points[:1]) == 0

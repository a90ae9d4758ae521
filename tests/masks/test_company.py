"""Which regions of a mask are the object of the support pairs."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.masks.company import learn_likeness, object_regions, without_company
from aligndiff.masks.necks import parts_at_necks
from tests.masks.made_masks import BLUE, RED, bar, disc, picture

SUPPORT = [disc(30, 40, 14), disc(60, 50, 18), disc(48, 30, 16)]
LIKENESS = learn_likeness([picture((mask, RED), seed=3) for mask in SUPPORT], SUPPORT)


def test_a_thing_beside_the_object_goes() -> None:
    wanted, other = disc(25, 48), bar(48, 43)
    image = picture((wanted, RED), (other, BLUE))
    assert np.array_equal(object_regions(image, wanted | other, LIKENESS), wanted)


def test_a_larger_thing_goes_too() -> None:
    wanted, other = disc(20, 48, 12), bar(44, 20, 48, 60)
    image = picture((wanted, RED), (other, BLUE))
    assert np.array_equal(object_regions(image, wanted | other, LIKENESS), wanted)


def test_a_spot_that_resembles_the_object_does_not_take_its_place() -> None:
    """A generated mushroom with an odd outline was lost to a spot of red in the grass."""
    wanted, spot = bar(40, 30, 30, 40), disc(12, 84, 5)
    image = picture((wanted | spot, RED))
    kept = object_regions(image, wanted | spot, LIKENESS)
    assert kept[wanted].all()


def test_two_wanted_objects_both_stay() -> None:
    both = disc(25, 48) | disc(70, 40, 12)
    image = picture((both, RED))
    assert np.array_equal(object_regions(image, both, LIKENESS), both)


def test_a_part_that_completes_the_outline_stays() -> None:
    """A disc that a thin bar cuts in two: alone, neither half has the outline of a disc."""
    whole = disc(48, 48, 18)
    halves = whole & ~bar(0, 46, 96, 4)
    image = picture((whole, RED), (bar(0, 46, 96, 4), BLUE))
    assert np.array_equal(object_regions(image, halves, LIKENESS), halves)


@pytest.mark.parametrize("mask", [disc(40, 40), np.zeros((96, 96), bool)])
def test_one_region_or_none_stays_as_it_is(mask: np.ndarray) -> None:
    assert np.array_equal(object_regions(picture((mask, BLUE)), mask, LIKENESS), mask)


def test_a_thing_that_touches_the_object_is_cut_off() -> None:
    """A fish that touched a butterfly was one region with it, and both stayed."""
    wanted, other = disc(30, 48, 15), bar(46, 30, 36, 36)
    image = picture((other, BLUE), (wanted, RED))
    kept = object_regions(image, wanted | other, LIKENESS)
    assert (kept & wanted).sum() > 0.97 * wanted.sum()
    assert (kept & other & ~wanted).sum() < 0.05 * other.sum()
    alone = without_company(image, (wanted | other).astype(np.float32), 0.5, LIKENESS)
    assert np.array_equal(alone.probability > 0.5, kept)


def test_an_object_with_a_neck_is_not_cut() -> None:
    """Where the support shows two discs that touch, these are the object."""
    pair = disc(35, 48, 14) | disc(63, 48, 14)
    likeness = learn_likeness([picture((pair, RED))] * 2, [pair] * 2)
    assert likeness is not None and len(parts_at_necks(pair)) == 2
    assert np.array_equal(object_regions(picture((pair, RED)), pair, likeness), pair)


def test_parts_cover_their_region_and_do_not_overlap() -> None:
    region = disc(30, 48, 15) | bar(46, 30, 36, 36)
    parts = parts_at_necks(region)
    assert len(parts) == 2 and np.array_equal(sum(part.astype(int) for part in parts), region)
    assert len(parts_at_necks(disc(40, 40))) == 1


def test_specks_go() -> None:
    mask = disc(40, 40)
    mask[80, 80] = True
    assert np.array_equal(object_regions(picture((mask, RED)), mask, LIKENESS), disc(40, 40))


def test_one_pair_tells_no_difference() -> None:
    assert learn_likeness([picture((SUPPORT[0], RED))], SUPPORT[:1]) is None


def test_the_soft_rim_of_a_thing_goes_with_it() -> None:
    wanted, other = disc(25, 48), bar(48, 43)
    rim = bar(46, 41, 48, 14)
    probability = np.where(wanted | other, 0.9, np.where(rim, 0.45, 0.1)).astype(np.float32)
    image = picture((wanted, RED), (other, BLUE))
    alone = without_company(image, probability, 0.5, LIKENESS).probability
    assert (alone[rim] == 0).all()
    assert np.array_equal(alone > 0.5, wanted)
    assert np.array_equal(alone[:, :30], probability[:, :30])


def says(*values: float):
    """A judge that says these of the large regions from the left to the right."""

    def judge(image: np.ndarray, regions: list[np.ndarray]) -> list[float]:
        lefts = [np.flatnonzero(region.any(0))[0] for region in regions]
        return [values[at] for at in np.argsort(np.argsort(lefts))]

    return judge


def test_a_judge_overrules_likeness_and_keeps_what_it_says_is_the_same() -> None:
    left, right = disc(20, 48, 12), bar(44, 30, 40, 30)
    image = picture((left, RED), (right, BLUE))  # likeness is for the disc
    both = left | right
    assert np.array_equal(object_regions(image, both, LIKENESS, says(-0.02, 0.1)), right)
    assert np.array_equal(object_regions(image, both, LIKENESS, says(0.1, 0.02)), left)
    assert np.array_equal(object_regions(image, both, LIKENESS, says(0.1, 0.08)), both)


def test_a_judge_that_sees_the_object_nowhere_is_not_heard() -> None:
    left, right = disc(20, 48, 12), bar(44, 30, 40, 30)
    image = picture((left, RED), (right, BLUE))
    assert np.array_equal(object_regions(image, left | right, LIKENESS, says(-0.2, -0.1)), left)


def test_no_judge_is_asked_where_there_is_no_choice() -> None:
    def judge(image: np.ndarray, regions: list[np.ndarray]) -> list[float]:
        raise AssertionError("asked")

    whole, speck = disc(48, 48, 18), disc(88, 88, 3)
    image = picture((whole | speck, RED))
    assert object_regions(image, whole, LIKENESS, judge)[whole].all()
    assert object_regions(image, whole | speck, LIKENESS, judge)[whole].all()

"""The views of a support pair: image and mask together, and nothing of them by default."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import IGNORE, OBJECT
from aligndiff.dataset.support import SupportPair
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.views import VARIED, flipped, views_of, views_of_each, zoomed


def pair(height: int = 60, width: int = 60) -> SupportPair:
    """An object of its own colour, so that the image says where it is; a patch is ignored."""
    mask = np.zeros((height, width), np.uint8)
    mask[20:35, 10:30] = 1
    mask[50:55, 40:50] = 255
    image = np.full((height, width, 3), 40, np.uint8)
    image[mask == 1] = (200, 90, 30)
    image[mask == 255] = (10, 200, 10)
    return SupportPair("1", image, mask)


def views(*augment: str, seed: int = 0) -> list[SupportPair]:
    return [view for group in views_of(pair(), augment, seed) for view in group]


def same(first: SupportPair, second: SupportPair) -> bool:
    return np.array_equal(first.image, second.image) and np.array_equal(first.mask, second.mask)


def test_flip_alone_is_the_pair_and_its_mirror_image() -> None:
    first, second = views("flip")
    assert same(first, pair()) and same(second, flipped(pair()))
    (alone,) = views("none")
    assert same(alone, pair())


@pytest.mark.parametrize("kind", ["crop", "scale"])
def test_image_and_mask_move_together_and_the_object_stays_whole(kind: str) -> None:
    found = views("flip", kind)
    assert len(found) == 2 * VARIED and same(found[0], pair())
    for view in found:
        is_object = (view.image == (200, 90, 30)).all(-1)
        assert (is_object == (view.mask == OBJECT)).all()
        assert (view.mask == OBJECT).sum() == 15 * 20, "all of it, and no more"
        assert view.mask.shape[0] == view.mask.shape[1], "no axis is stretched"
    sides = {view.mask.shape[0] for view in found[2:]}
    assert len(sides) > 3 and (max(sides) <= 60 if kind == "crop" else min(sides) >= 60)
    assert all(same(a, b) for a, b in zip(views(kind), found[::2], strict=True))


def test_many_pairs_have_fewer_views_each() -> None:
    """They would fill the memory: a thousand photos of FLUX 33 GB."""
    assert [views_of_each(pairs) for pairs in (1, 5, 32, 64, 1000)] == [8, 8, 8, 4, 2]
    assert len([*views_of(pair(), ("scale",), count=3)]) == 3


def test_what_lies_beyond_the_photo_is_ignored() -> None:
    view = zoomed(pair(), 1.5, np.random.default_rng(0))
    assert view.mask.shape == (90, 90)
    assert (view.mask == IGNORE).sum() == 90 * 90 - 60 * 60 + 50


def test_a_large_object_is_cut_no_smaller_than_it_is() -> None:
    tall = SupportPair("1", np.zeros((40, 80, 3), np.uint8), np.zeros((40, 80), np.uint8))
    tall.mask[2:38, 30:40] = 1
    view = zoomed(tall, 0.5, np.random.default_rng(1))
    assert view.mask.shape == (36, 72) and (view.mask == OBJECT).sum() == 36 * 10


def test_colour_leaves_the_mask_and_no_hue_turns() -> None:
    found = views("colour")[1:]
    assert all(np.array_equal(view.mask, pair().mask) for view in found)
    colours = {tuple(map(int, view.image[25, 20])) for view in found}
    assert len(colours) == VARIED - 1
    assert all(red > green > blue for red, green, blue in colours)


def test_views_follow_from_seed_and_name() -> None:
    assert all(map(same, views("crop", "colour"), views("crop", "colour")))
    other = views("crop", "colour", seed=1)
    assert not all(map(same, views("crop", "colour")[1:], other[1:]))


def test_none_stands_alone() -> None:
    with pytest.raises(InputError, match="--augment: none stands alone"):
        InversionConfig(augment=("none", "flip"))

"""Pasting, by numbers that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.composition.colour import fit_colours
from aligndiff.composition.instance import Extent, Instance, Sides, Spot, cut_out
from aligndiff.composition.paste import empty, paste
from aligndiff.composition.placement import Placement
from aligndiff.composition.recipe import Finish
from aligndiff.core.errors import InputError

HARD = Finish(feather=0.0, band=0.0)
WHERE = Placement(0.5, Spot(0.75, 0.5))
WHOLE = Sides()
EXTENT = Extent(0.5, Spot(0.75, 0.5))


def square(side: int = 20, colour: int = 200, cut: Sides = WHOLE) -> Instance:
    image = np.full((side, side, 3), colour, dtype=np.uint8)
    return Instance(image, np.ones((side, side), dtype=np.uint8), EXTENT, cut)


def ground(height: int = 40, width: int = 40) -> np.ndarray:
    return np.full((height, width, 3), 50, dtype=np.uint8)


def test_an_instance_lies_where_its_placement_says() -> None:
    made = paste(empty(ground()), square(), WHERE, finish=HARD)
    rows, columns = np.nonzero(made.mask == 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 10, 29)
    assert (made.image[made.mask == 1] == 200).all()
    assert (made.image[made.mask == 0] == 50).all()


def test_the_scene_that_was_given_stays_as_it_is() -> None:
    scene = empty(ground())
    paste(scene, square(), WHERE)
    assert (scene.image == 50).all()
    assert not scene.mask.any()


def test_an_ignored_band_lies_along_the_pasted_edge() -> None:
    made = paste(empty(ground()), square(), WHERE, finish=Finish(0.0, 0.05))
    assert made.mask[8:12, 20].tolist() == [255, 255, 255, 255]
    assert (made.mask[7, 20], made.mask[12, 20]) == (0, 1)


def test_where_the_scene_ends_no_band_lies() -> None:
    made = paste(
        empty(ground()), square(), Placement(0.5, Spot(1.25, 0.5)), finish=Finish(0.0, 0.05)
    )
    assert made.mask[-1, 20] == 1


def test_something_else_hides_the_object_and_is_no_object() -> None:
    scene = paste(empty(ground()), square(), WHERE, finish=HARD)
    made = paste(scene, square(colour=10), Placement(0.25, Spot(0.75, 0.5)), 0, HARD)
    assert scene.area - made.area == 100
    assert (made.image[made.mask == 0] < 100).all()


def test_behind_the_object_nothing_of_it_is_hidden() -> None:
    scene = paste(empty(ground()), square(), WHERE, finish=HARD)
    made = paste(scene, square(colour=10), Placement(0.8, Spot(0.9, 0.5), behind=True), 0, HARD)
    assert made.area == scene.area
    assert (made.image == 10).sum() > 0


def test_the_feathered_edge_brings_no_old_background() -> None:
    """The photo's own background is black; pasted on grey, nothing darker than the grey is seen."""
    rows, columns = np.mgrid[:64, :64]
    inside = (rows - 32) ** 2 + (columns - 32) ** 2 < 24**2
    image = np.where(inside[..., None], np.uint8(200), np.uint8(0)).repeat(3, axis=2)
    instance = cut_out(image, inside.astype(np.uint8))
    made = paste(empty(ground()), instance, WHERE, finish=Finish(0.05, 0.0))
    assert made.image.min() >= 49
    assert ((made.image > 60) & (made.image < 190)).any()


def test_a_cut_side_lies_at_the_edge_of_the_scene() -> None:
    made = paste(empty(ground()), square(cut=Sides(left=True)), WHERE, finish=HARD)
    assert (made.mask[15, 0], made.mask[15, 19], made.mask[15, 20]) == (1, 1, 0)
    flipped = Placement(0.5, Spot(0.75, 0.5), flip=True)
    made = paste(empty(ground()), square(cut=Sides(left=True)), flipped, finish=HARD)
    assert (made.mask[15, -1], made.mask[15, 19]) == (1, 0)


def test_what_two_edges_cut_reaches_from_edge_to_edge() -> None:
    made = paste(empty(ground()), square(cut=Sides(left=True, right=True)), WHERE, finish=HARD)
    assert (made.mask[20] == 1).all()


def test_outside_of_the_scene_nothing_happens() -> None:
    made = paste(empty(ground()), square(), Placement(0.5, Spot(3.0, 0.5)))
    assert not made.mask.any()


def test_cutting_out_notes_size_place_and_cut_sides() -> None:
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:30, 0:30] = 1
    mask[0, 59] = 1  # a speck
    instance = cut_out(np.zeros((40, 60, 3), dtype=np.uint8), mask)
    assert instance.mask.shape == (20, 30)
    assert instance.extent == Extent(0.75, Spot(0.75, 0.25))
    assert instance.cut == Sides(left=True)


def test_a_mask_without_an_object_cannot_be_cut_out() -> None:
    with pytest.raises(InputError, match="has no object"):
        cut_out(np.zeros((8, 8, 3), dtype=np.uint8), np.full((8, 8), 255, dtype=np.uint8))


def test_colours_go_as_far_as_the_strength_says() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(120, 200, (32, 32, 3), dtype=np.uint8)
    scene = rng.integers(20, 60, (32, 32, 3), dtype=np.uint8)
    there = np.ones((32, 32), dtype=np.bool_)
    assert fit_colours(image, there, scene, 0.0) is image
    means = [fit_colours(image, there, scene, s).mean() for s in (0.25, 0.5, 1.0)]
    assert image.mean() > means[0] > means[1] > means[2]
    assert abs(means[2] - scene.mean()) < 4


def test_behind_a_soft_edge_little_of_the_old_ground_is_left() -> None:
    """The ground is black, the object white, what comes behind it white too: no dark rim."""
    scene = paste(empty(ground() * 0), square(colour=255), WHERE, finish=Finish(0.05, 0.05))
    cover = Placement(3.0, Spot(2.0, 0.5), behind=True)
    made = paste(scene, square(colour=255), cover, 0, Finish(0.05, 0.05))
    assert made.image.min() >= 150  # where each covers half, a quarter of the ground is left
    assert (made.image > 250).mean() > 0.9

"""The renderer: exact masks, seeds, variety."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from scripts.tiny_world.world.example import resembles_an_example
from scripts.tiny_world.world.looks import CLASHES, COLOURS, GROUNDS, NAMED_LOOKS, TEXTURES, Look
from scripts.tiny_world.world.scene import SIDE, Scene, Thing, random_scene, render
from scripts.tiny_world.world.shapes import SHAPES


def upright(category: str, look: Look) -> Thing:
    return Thing(category, look, (0.5, 0.5), 0.8, angle=0.0, mirrored=False, shape_seed=1)


def test_world_is_varied() -> None:
    assert len(SHAPES) >= 10
    assert len(COLOURS) >= 10
    assert len(GROUNDS) >= 10
    assert len(TEXTURES) >= 5


def test_same_seed_draws_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (render(random_scene(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("category", SHAPES)
def test_object_is_drawn_where_its_mask_says(category: str) -> None:
    """Two drawings that differ only in the look differ inside the mask and nowhere else."""
    drawn = [
        render(Scene("stone", (upright(category, Look("plain", colour)),), seed=5))
        for colour in ("red", "blue")
    ]
    assert np.array_equal(drawn[0].masks, drawn[1].masks)
    mask = drawn[0].masks[0]
    changed = np.abs(drawn[0].image.astype(int) - drawn[1].image.astype(int)).sum(axis=2) > 40
    assert changed.sum() > 0.25 * mask.sum()
    # Two pixels of margin: edges are soft, and tips are thinner than a pixel.
    touched = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert not (changed & ~touched).any()


def test_disc_has_the_area_of_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.tiny_world.world import shapes

    def disc(rng: np.random.Generator) -> list[shapes.Part]:
        return [shapes.Part(shapes._ellipse(0, 0, 1, 1))]

    monkeypatch.setitem(SHAPES, "disc", disc)
    mask = render(Scene("sky", (upright("disc", Look("plain", "red")),), seed=1)).masks[0]
    assert mask.sum() == pytest.approx(np.pi * (0.4 * SIDE) ** 2, rel=0.02)


def test_masks_of_two_things_are_disjoint_and_both_visible() -> None:
    for seed in range(10):
        masks = render(random_scene(seed, alone=False)).masks
        assert masks.shape == (2, SIDE, SIDE)
        assert not (masks[0] & masks[1]).any()
        assert (masks.sum(axis=(1, 2)) > 100).all()


def test_no_object_wears_the_colour_of_its_ground() -> None:
    for seed in range(200):
        scene = random_scene(seed)
        for thing in scene.things:
            worn = {thing.look.colour, thing.look.second}
            assert not worn & CLASHES.get(scene.ground, frozenset())


def test_a_wish_for_category_and_look_is_granted_to_the_first_thing() -> None:
    look = Look("dotted", "red", "white")
    for alone in (True, False):
        first = random_scene(8, "mushroom", look, alone).things[0]
        assert (first.category, first.look) == ("mushroom", look)


def test_look_counts_its_colours() -> None:
    with pytest.raises(ValueError, match="a striped look takes 2 colours"):
        Look("striped", "red")


def test_named_looks_are_distinct_even_and_never_an_example_objects() -> None:
    looks = list(NAMED_LOOKS.values())
    assert len(set(looks)) == len(looks)
    assert not any(resembles_an_example(look) for look in looks)
    textures = [look.texture for look in looks]
    assert {textures.count(texture) for texture in TEXTURES} == {0, len(looks) // 4}

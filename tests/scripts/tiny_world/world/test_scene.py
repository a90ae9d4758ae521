"""The renderer: exact masks, seeds, variety."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from scripts.tiny_world.world import scene as scene_module
from scripts.tiny_world.world.example import resembles_an_example
from scripts.tiny_world.world.light import Light
from scripts.tiny_world.world.looks import CLASHES, COLOURS, GROUNDS, NAMED_LOOKS, TEXTURES, Look
from scripts.tiny_world.world.parts import Part, ellipse
from scripts.tiny_world.world.scene import SIDE, Scene, Thing, random_scene, render
from scripts.tiny_world.world.shapes import ALL_SHAPES, RARE, SHAPES, kind_of


def upright(category: str, look: Look, shape_seed: int = 1) -> Thing:
    return Thing(category, look, (0.5, 0.5), 0.8, 0.0, mirrored=False, shape_seed=shape_seed)


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


@pytest.mark.parametrize("category", ALL_SHAPES)
def test_object_is_drawn_where_its_mask_says(category: str) -> None:
    """Two drawings that differ only in the look differ inside the mask and nowhere else."""
    for shape_seed in range(len(ALL_SHAPES[category])):  # each of the kinds
        drawn = [
            render(Scene("stone", (upright(category, Look("plain", colour), shape_seed),), seed=5))
            for colour in ("red", "blue")
        ]
        assert np.array_equal(drawn[0].masks, drawn[1].masks)
        mask = drawn[0].masks[0]
        changed = np.abs(drawn[0].image.astype(int) - drawn[1].image.astype(int)).sum(2) > 40
        assert changed.sum() > 0.15 * mask.sum()
        # Two pixels of margin: edges are soft, and tips are thinner than a pixel.
        touched = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert not (changed & ~touched).any()


def test_shadow_and_shading_leave_the_mask_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    things = (upright("car", Look("plain", "red")),)
    lit = render(Scene("stone", things, seed=5))
    monkeypatch.setattr(scene_module, "random_light", lambda rng, ground: Light((0, 1), 0, 0, 0))
    flat = render(Scene("stone", things, seed=5))
    assert np.array_equal(lit.masks, flat.masks)
    assert not np.array_equal(lit.image[~lit.masks[0]], flat.image[~lit.masks[0]])  # the shadow


def test_disc_has_the_area_of_geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    def disc(rng: np.random.Generator) -> list[Part]:
        return [Part(ellipse(0, 0, 1, 1))]

    monkeypatch.setitem(ALL_SHAPES, "disc", {"disc": disc})
    mask = render(Scene("sky", (upright("disc", Look("plain", "red")),), seed=1)).masks[0]
    assert mask.sum() == pytest.approx(np.pi * (0.4 * SIDE) ** 2, rel=0.02)


def test_what_lies_above_hides_what_lies_below() -> None:
    below = upright("heart", Look("plain", "red"))
    above = replace(upright("star", Look("plain", "blue")), layer=1)
    for things in ((below, above), (above, below)):
        masks = render(Scene("sky", things, seed=1)).masks
        free = render(Scene("sky", (above,), seed=1)).masks[0]
        hidden = render(Scene("sky", (below,), seed=1)).masks[0]
        assert np.array_equal(masks[things.index(above)], free)
        # Along the border of the two a pixel may belong to neither.
        differs = masks[things.index(below)] != (hidden & ~free)
        assert differs.sum() < 0.03 * hidden.sum()


def test_masks_of_two_things_are_disjoint_and_both_visible() -> None:
    for seed in range(20):
        masks = render(random_scene(seed, alone=False)).masks
        assert masks.shape == (2, SIDE, SIDE)
        assert not (masks[0] & masks[1]).any()
        assert masks.any(axis=(1, 2)).all()


def test_an_object_is_hidden_in_part_at_most() -> None:
    """In company at least half of the object is seen, and sometimes not all of it."""
    shares = []
    for seed in range(100):
        scene = random_scene(seed, alone=False)
        whole = render(replace(scene, things=scene.things[:1])).masks[0].sum()
        shares.append(render(scene).masks[0].sum() / whole)
    assert min(shares) > 0.4
    assert 0.05 < np.mean(np.array(shares) < 0.98) < 0.6


def test_scales_go_from_a_tenth_to_nine_tenths_of_the_frame() -> None:
    scenes = [random_scene(seed) for seed in range(1000)]
    sides = np.array([scene.things[0].size for scene in scenes])
    assert 0.1 <= sides.min() < 0.2 and 0.88 < sides.max() <= 0.92
    assert 0.02 < (sides < 0.3).mean() < 0.12 and np.median(sides) > 0.55
    company = Counter(len(scene.things) for scene in scenes)
    assert 550 < company[1] < 670 and company[2] > 200 and company[3] > 80
    layers = {thing.layer > 0 for scene in scenes for thing in scene.things[1:]}
    assert layers == {True, False}  # before the object and behind it


def test_things_lie_inside_the_frame() -> None:
    for seed in range(300):
        for thing in random_scene(seed).things:
            for middle in thing.centre:
                assert thing.size / 2 <= middle <= 1 - thing.size / 2


def test_a_wish_for_a_kind_is_granted() -> None:
    for kind in SHAPES["fish"]:
        first = random_scene(8, "fish", kind=kind).things[0]
        assert kind_of("fish", first.shape_seed) == kind


def test_the_rare_class_comes_only_when_asked_for() -> None:
    seen = {thing.category for seed in range(500) for thing in random_scene(seed).things}
    assert seen == set(SHAPES) and RARE not in SHAPES
    assert random_scene(1, RARE).things[0].category == RARE


def test_no_scenes_object_wears_the_colour_of_its_ground() -> None:
    for seed in range(200):
        scene = random_scene(seed)
        look = scene.things[0].look
        assert not {look.colour, look.second} & CLASHES.get(scene.ground, frozenset())


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

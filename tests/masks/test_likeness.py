"""How like the support's objects another one is: its colours, its texture, its features."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.masks.likeness import TYPICAL, both_ways, learn_looks, looks_of
from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import random_scene, render
from tests.masks.made_masks import BLUE, RED, bar, disc, picture

TOADSTOOL = Look("dotted", "red", "white")


def seen(look: Look, seeds: range, category: str = "mushroom"):
    """Objects of a look, rendered: what they look like."""
    rendered = [render(random_scene(seed, category, look, alone=True)) for seed in seeds]
    return [looks_of(scene.image, scene.masks[0]) for scene in rendered]


@pytest.fixture(scope="module")
def toadstools():
    return learn_looks(seen(TOADSTOOL, range(5)))


@pytest.mark.parametrize(
    "other",
    [Look("dotted", "blue", "white"), Look("striped", "red", "white"), Look("plain", "red")],
)
def test_another_colour_and_another_texture_are_less_like(toadstools, other: Look) -> None:
    own = np.array([toadstools.likeness(looks) for looks in seen(TOADSTOOL, range(100, 120))])
    odd = np.array([toadstools.likeness(looks) for looks in seen(other, range(200, 220))])
    assert (own[:, None] > odd).mean() >= 0.9  # the area under the curve
    assert np.median(own) > 0.4


def test_as_far_as_the_support_objects_are_from_each_other_is_one_half() -> None:
    objects = seen(TOADSTOOL, range(5))
    without = learn_looks(objects[1:])
    away = [
        both_ways(own, known) / usual
        for own, known, usual in zip(objects[0].kinds, without.known, without.usual, strict=True)
    ]
    assert without.likeness(objects[0]) == pytest.approx(2 ** -float(np.hypot(*away) / 2**0.5))
    assert learn_looks(objects).likeness(objects[0]) > without.likeness(objects[0])  # it is there


def test_a_lone_pair_has_the_typical_distances_and_copies_not_none() -> None:
    looks = looks_of(picture((disc(30, 30), RED)), disc(30, 30))
    assert learn_looks([looks]).usual == TYPICAL[:2]
    assert learn_looks([looks, looks]).usual == tuple(usual / 2 for usual in TYPICAL[:2])


def test_features_are_a_kind_beside_the_others() -> None:
    mask, image = disc(40, 40), picture((disc(40, 40), RED))
    along, across = np.eye(4, dtype=np.float32)[:1] * 9, np.eye(4, dtype=np.float32)[1:2]
    known = learn_looks([looks_of(image, mask, along)])
    assert known.likeness(looks_of(image, mask, along)) == pytest.approx(1, abs=1e-3)
    turned = 2 * 2**0.5 / TYPICAL[2]  # both ways, of directions at a right angle
    expected = 2 ** -(turned / 3**0.5)
    assert known.likeness(looks_of(image, mask, across)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("mask", [bar(0, 0, 96, 1), bar(95, 95, 1, 1), bar(3, 0, 1, 96)])
def test_objects_of_a_pixel_or_a_line_have_looks(mask: np.ndarray) -> None:
    known = learn_looks([looks_of(picture((disc(40, 40), RED)), disc(40, 40))])
    red, blue = (known.likeness(looks_of(picture((mask, c)), mask)) for c in (RED, BLUE))
    assert 0 < blue < red <= 1


def test_the_size_of_an_object_is_no_part_of_its_look(toadstools) -> None:
    scene = render(random_scene(7, "mushroom", TOADSTOOL, alone=True))
    large = scene.image.repeat(3, 0).repeat(3, 1), scene.masks[0].repeat(3, 0).repeat(3, 1)
    small, big = (
        toadstools.likeness(looks_of(*pair)) for pair in ((scene.image, scene.masks[0]), large)
    )
    assert small == pytest.approx(big, abs=0.05)

"""Composing: what is drawn follows from the generator alone, and the masks say what is seen."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aligndiff.composition.compose import Ingredients, compose
from aligndiff.composition.instance import cut_out
from aligndiff.composition.paste import Composite
from aligndiff.composition.recipe import Interval, SceneRecipe

SIDE = 96


def disc(row: int, column: int, radius: int, colour: int) -> Composite:
    """A disc on grey noise, with its true mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    noise = np.random.default_rng(radius).integers(90, 150, (SIDE, SIDE, 3), dtype=np.uint8)
    image = np.where(inside[..., None], np.uint8(colour), noise)
    return Composite(image, inside.astype(np.uint8))


@pytest.fixture
def ingredients() -> Ingredients:
    pairs = [disc(50, 40, 30, 240), disc(40, 60, 22, 230)]
    others = [disc(48, 48, 26, 10), disc(48, 48, 18, 20)]
    cut = [cut_out(pair.image, pair.mask) for pair in pairs]
    return Ingredients(
        pairs=pairs,
        backgrounds=[disc(-500, 0, 5, 0).image, disc(-500, 0, 9, 0).image],
        others=[cut_out(other.image, other.mask) for other in others],
        support=[instance.extent for instance in cut],
    )


def digest(ingredients: Ingredients, count: int = 12) -> str:
    made = hashlib.sha256()
    for seed in range(count):
        scene = compose(ingredients, np.random.default_rng(seed), SceneRecipe(), seed % 4 > 0)
        made.update(scene.composite.image.tobytes() + scene.composite.mask.tobytes())
    return made.hexdigest()


def test_the_same_generator_gives_the_same_bytes_with_any_threads(ingredients: Ingredients) -> None:
    before = cv2.getNumThreads()
    try:
        digests = set()
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            digests.add(digest(ingredients))
    finally:
        cv2.setNumThreads(before)
    assert len(digests) == 1


def test_the_mask_is_where_the_bright_object_is_seen(ingredients: Ingredients) -> None:
    """Objects are white, others black, grounds grey: a mask that says otherwise would be seen."""
    recipe = replace(SceneRecipe(), colour_fit=Interval(0.0, 0.0))
    shown = 0
    for seed in range(60):
        composite = compose(ingredients, np.random.default_rng(seed), recipe).composite
        brightness = composite.image.mean(axis=2)
        sure = composite.mask != 255
        sure[[0, -1]] = sure[:, [0, -1]] = False  # a soft edge may begin just outside
        assert ((brightness > 190) == (composite.mask == 1))[sure].all(), seed
        shown += composite.area > 0
    assert shown == 60


def test_an_empty_scene_has_no_object(ingredients: Ingredients) -> None:
    draws = [np.random.default_rng(n) for n in range(20)]
    scenes = [compose(ingredients, rng, SceneRecipe(), False) for rng in draws]
    assert not any(scene.composite.mask.any() for scene in scenes)
    assert {len(scene.parts) for scene in scenes} == {2}


def test_no_object_is_hidden_more_than_allowed(ingredients: Ingredients) -> None:
    recipe = SceneRecipe(on_background=0.0, other_on_pair=1.0, behind=0.0, least_visible=0.9)
    areas = [pair.area for pair in ingredients.pairs]
    hidden = 0
    for seed in range(40):
        scene = compose(ingredients, np.random.default_rng(seed), recipe)
        whole = areas[scene.parts[0].index]
        assert scene.composite.area >= 0.9 * whole
        hidden += scene.composite.area < whole
    assert hidden > 0  # some are hidden in part


def test_without_other_things_every_scene_is_on_a_background(ingredients: Ingredients) -> None:
    alone = replace(ingredients, others=[])
    scenes = [compose(alone, np.random.default_rng(n), SceneRecipe()) for n in range(20)]
    assert all(not scene.parts[0].pair for scene in scenes)
    assert {part.role for scene in scenes for part in scene.parts} == {"ground", "object"}


def test_the_parts_tell_what_was_pasted(ingredients: Ingredients) -> None:
    recipe = replace(SceneRecipe(), on_background=1.0, several=1.0)
    scene = compose(ingredients, np.random.default_rng(3), recipe)
    roles = [part.role for part in scene.parts]
    assert roles[0] == "ground"
    assert 2 <= roles.count("object") <= 3


def test_what_is_not_worth_pasting_is_drawn_no_second_time(ingredients: Ingredients) -> None:
    """Another thing takes its place: a pair with nothing on it would be no scene."""
    few = replace(ingredients, others=[None, *ingredients.others])
    recipe = SceneRecipe(on_background=0.0, other_on_pair=1.0)
    scenes = [compose(few, np.random.default_rng(n), recipe) for n in range(30)]
    assert all(len(scene.parts) == 2 for scene in scenes)
    nothing = replace(ingredients, others=[None])
    assert len(compose(nothing, np.random.default_rng(0), recipe).parts) == 1

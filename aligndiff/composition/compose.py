"""A whole scene, drawn from one generator: what stands in it, where, and in front of what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aligndiff.composition.instance import Extent, Instance, cut_out
from aligndiff.composition.paste import Composite, empty, paste
from aligndiff.composition.placement import Placement, place_anywhere, place_like
from aligndiff.composition.recipe import SceneRecipe
from aligndiff.composition.view import view_of, whole_view
from aligndiff.dataset.images import BACKGROUND, OBJECT, Uint8

Role = Literal["ground", "object", "other"]
_TRIES = 8  # placements drawn before something that hides too much, or misses, is left out
_MOST_OBJECTS = 3
_LEAST_SEEN = 0.005  # of a scene's pixels


@dataclass(frozen=True)
class Ingredients:
    """What scenes are made of. Any sequence will do: an item is read when it is drawn.

    Attributes:
        pairs: images with masks of the object: real ones, and samples of step 3.
        backgrounds: uint8 RGB (h, w, 3), without the object.
        others: other things, which are not the object; None for one that is not worth pasting.
        support: size and place of the object in the real pairs.
        size: (h, w) of the scenes; None: that of the background or pair.
    """

    pairs: Sequence[Composite]
    backgrounds: Sequence[Uint8]
    others: Sequence[Instance | None]
    support: Sequence[Extent]
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class ScenePart:
    """What went into a scene: number `index` of the pairs, the backgrounds or the others.

    The ground has no placement. Where `role` is "ground", `pair` tells whether it is a pair.
    """

    role: Role
    index: int
    placement: Placement | None = None
    pair: bool = False


@dataclass(frozen=True)
class ComposedScene:
    """A composed scene, and what is in it, from back to front as it was pasted."""

    composite: Composite
    parts: tuple[ScenePart, ...]


def compose(
    ingredients: Ingredients,
    rng: np.random.Generator,
    recipe: SceneRecipe,
    with_object: bool = True,
) -> ComposedScene:
    """A scene with the object, or an empty one: all that it depends on is drawn from `rng`.

    An empty scene is a negative: a background, maybe with other things, where nothing is object.
    """
    if not with_object:
        scene = _background(ingredients, rng, recipe)
        return _with_other(scene, ingredients, rng, recipe, True)
    if ingredients.others and rng.random() >= recipe.on_background:
        scene = _pair(ingredients, rng)
        other = rng.random() < recipe.other_on_pair
        return _with_other(scene, ingredients, rng, recipe, bool(other))
    scene = _background(ingredients, rng, recipe)
    count = int(rng.integers(2, _MOST_OBJECTS + 1)) if rng.random() < recipe.several else 1
    for _ in range(count):
        scene = _with_object(scene, ingredients, rng, recipe)
    other = rng.random() < recipe.other_on_background
    return _with_other(scene, ingredients, rng, recipe, bool(other))


def _background(
    ingredients: Ingredients, rng: np.random.Generator, recipe: SceneRecipe
) -> ComposedScene:
    at = int(rng.integers(len(ingredients.backgrounds)))
    image = ingredients.backgrounds[at]
    if ingredients.size is not None:
        image = view_of(image, ingredients.size, rng, recipe)
    return ComposedScene(empty(image), (ScenePart("ground", at),))


def _pair(ingredients: Ingredients, rng: np.random.Generator) -> ComposedScene:
    at = int(rng.integers(len(ingredients.pairs)))
    pair = ingredients.pairs[at]
    if ingredients.size is not None:
        pair = whole_view(pair, ingredients.size)
    return ComposedScene(pair, (ScenePart("ground", at, pair=True),))


def _with_object(
    scene: ComposedScene, ingredients: Ingredients, rng: np.random.Generator, recipe: SceneRecipe
) -> ComposedScene:
    """The scene with one object more, in front of or behind those that are there."""
    at = int(rng.integers(len(ingredients.pairs)))
    pair = ingredients.pairs[at]
    instance = cut_out(pair.image, pair.mask)
    before = scene.composite
    for _ in range(_TRIES):
        behind = bool(before.area) and bool(rng.random() < recipe.behind)
        placement = place_like(ingredients.support, rng, recipe, behind)
        after = paste(before, instance, placement, OBJECT, recipe.finish)
        if after.area > before.area:
            return ComposedScene(after, (*scene.parts, ScenePart("object", at, placement)))
    return scene


def _seen(before: Composite, after: Composite) -> bool:
    """Whether enough of a scene has changed to be seen: what was pasted may be out of sight."""
    changed = np.count_nonzero((before.image != after.image).any(axis=2))
    return bool(changed >= _LEAST_SEEN * after.mask.size)


def _with_other(
    scene: ComposedScene,
    ingredients: Ingredients,
    rng: np.random.Generator,
    recipe: SceneRecipe,
    wished: bool,
) -> ComposedScene:
    """The scene with another thing over, behind or beside the object, if so drawn."""
    if not (wished and ingredients.others):
        return scene
    before = scene.composite
    for _ in range(_TRIES):
        at = int(rng.integers(len(ingredients.others)))
        if (other := ingredients.others[at]) is None:
            continue
        placement = place_anywhere(other, rng, recipe)
        after = paste(before, other, placement, BACKGROUND, recipe.finish)
        hidden = after.area < recipe.least_visible * before.area
        if not hidden and _seen(before, after):
            return ComposedScene(after, (*scene.parts, ScenePart("other", at, placement)))
    return scene

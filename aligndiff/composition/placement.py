"""Where something is pasted, and how large: drawn after the real pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aligndiff.composition.instance import Extent, Instance, Spot
from aligndiff.composition.recipe import Interval, SceneRecipe


@dataclass(frozen=True)
class Placement:
    """How an instance is put into a scene.

    Attributes:
        scale: the longer side of its box, in parts of the scene's shorter side.
        foot: the middle of its box's lower side, in parts of the scene; may lie outside of it.
        flip: whether left and right change places.
        behind: whether it stands behind the objects that are there already.
        colour_fit: how far its colours go towards those of the scene, in [0, 1].
    """

    scale: float
    foot: Spot
    flip: bool = False
    behind: bool = False
    colour_fit: float = 0.0


def place_like(
    support: Sequence[Extent], rng: np.random.Generator, recipe: SceneRecipe, behind: bool = False
) -> Placement:
    """A placement after one of the real pairs' objects: its size and place, both varied."""
    like = support[int(rng.integers(len(support)))]
    foot = _moved(like.foot, recipe.rise, recipe.shift, rng)
    return _drawn(like.scale * _between(recipe.scales, rng), foot, rng, recipe, behind)


def place_anywhere(other: Instance, rng: np.random.Generator, recipe: SceneRecipe) -> Placement:
    """A placement of something else: smaller than in its photo, and nearly anywhere."""
    scale = other.extent.scale * _between(recipe.other_scales, rng)
    foot = _moved(other.extent.foot, recipe.other_shift, recipe.other_shift, rng)
    behind = bool(rng.random() < recipe.behind)
    return _drawn(scale, foot, rng, recipe, behind)


def _drawn(
    scale: float, foot: Spot, rng: np.random.Generator, recipe: SceneRecipe, behind: bool
) -> Placement:
    flip = bool(rng.random() < recipe.flip)
    return Placement(scale, foot, flip, behind, _between(recipe.colour_fit, rng))


def _moved(foot: Spot, rows: float, columns: float, rng: np.random.Generator) -> Spot:
    return Spot(
        foot.row + float(rng.uniform(-rows, rows)),
        foot.column + float(rng.uniform(-columns, columns)),
    )


def _between(limits: Interval, rng: np.random.Generator) -> float:
    return float(rng.uniform(limits.low, limits.high))

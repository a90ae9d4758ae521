"""The categories of the tiny world and the kinds of each, whose bodies differ as breeds do.

A shape lives in the square [-1, 1] x [-1, 1], x to the right and y down, and is a list of parts
drawn in order. A part wears the object's *look* (colours and texture) or has a colour of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scripts.tiny_world.world.kinds.birds import BIRDS
from scripts.tiny_world.world.kinds.creatures import BUTTERFLIES, FISH
from scripts.tiny_world.world.kinds.emblems import HEARTS, STARS
from scripts.tiny_world.world.kinds.household import CUPS, HOUSES
from scripts.tiny_world.world.kinds.plants import MUSHROOMS, TREES
from scripts.tiny_world.world.kinds.vehicles import BOATS, CARS
from scripts.tiny_world.world.parts import Part

Kinds = dict[str, Callable[[np.random.Generator], list[Part]]]

SHAPES: dict[str, Kinds] = {
    "boat": BOATS,
    "butterfly": BUTTERFLIES,
    "car": CARS,
    "cup": CUPS,
    "fish": FISH,
    "heart": HEARTS,
    "house": HOUSES,
    "mushroom": MUSHROOMS,
    "star": STARS,
    "tree": TREES,
}
# The rare class: no scene has one unless it is asked for, no caption says the word, and so no
# generator of this world has ever seen one. It is an eleventh category, not one of the ten, because
# the weights from which generators are trained further know the ten; and a bird, because nothing
# else of the world has a beak, a neck or legs.
RARE = "bird"
ALL_SHAPES: dict[str, Kinds] = {**SHAPES, RARE: BIRDS}


def kind_of(category: str, shape_seed: int) -> str:
    """The kind that a shape's seed chooses: every kind of a category is equally frequent."""
    kinds = list(ALL_SHAPES[category])
    return kinds[shape_seed % len(kinds)]


def seed_of_kind(category: str, kind: str, seed: int) -> int:
    """A shape's seed near ``seed`` that chooses ``kind``. KeyError for a kind unknown."""
    kinds = list(ALL_SHAPES[category])
    if kind not in kinds:
        raise KeyError(f"a {category} of the kind {kind}: the kinds are {', '.join(kinds)}")
    return seed - seed % len(kinds) + kinds.index(kind)


def draw_shape(category: str, shape_seed: int) -> list[Part]:
    """The parts of a shape, of the kind and proportions that its seed chooses."""
    kind = ALL_SHAPES[category][kind_of(category, shape_seed)]
    return kind(np.random.default_rng(shape_seed))

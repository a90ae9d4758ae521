"""The two example objects: each has a look that the plain word for it does not give."""

from __future__ import annotations

from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import Scene, random_scene
from scripts.tiny_world.world.shapes import ALL_SHAPES, RARE, SHAPES

EXAMPLES: dict[str, Look] = {
    "fish": Look("striped", "orange", "white"),
    "mushroom": Look("dotted", "red", "white"),
}
# An object has one body: the example objects' own kinds.
EXAMPLE_KINDS: dict[str, str] = {"fish": "reef", "mushroom": "toadstool"}
# The object of the rare class that the measurement learns from five pairs.
RARE_LOOK, RARE_KIND = Look("banded", "blue", "yellow"), next(iter(ALL_SHAPES[RARE]))
# What the segmenter may learn from: the example objects stay novel to it.
BASE_CATEGORIES = tuple(name for name in SHAPES if name not in EXAMPLES)


def example_scene(seed: int, category: str, alone: bool) -> Scene:
    """The scene of a seed whose first thing is an example object, alone or beside another thing."""
    return random_scene(seed, category, EXAMPLES[category], alone, EXAMPLE_KINDS[category])


def resembles_an_example(look: Look) -> bool:
    """Whether the look has the texture and the two colours of an example object, in any order."""
    return any(
        look.texture == example.texture
        and {look.colour, look.second} == {example.colour, example.second}
        for example in EXAMPLES.values()
    )

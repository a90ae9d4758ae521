"""The two example objects: each has a look that the plain word for it does not give."""

from __future__ import annotations

from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.shapes import SHAPES

EXAMPLES: dict[str, Look] = {
    "fish": Look("striped", "orange", "white"),
    "mushroom": Look("dotted", "red", "white"),
}
# What the segmenter may learn from: the example objects stay novel to it.
BASE_CATEGORIES = tuple(name for name in SHAPES if name not in EXAMPLES)


def resembles_an_example(look: Look) -> bool:
    """Whether the look has the texture and the two colours of an example object, in any order."""
    return any(
        look.texture == example.texture
        and {look.colour, look.second} == {example.colour, example.second}
        for example in EXAMPLES.values()
    )

"""How scenes are composed: the ranges that everything is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Interval(NamedTuple):
    """The two ends of what is drawn evenly."""

    low: float
    high: float


@dataclass(frozen=True)
class Finish:
    """How the edge of what is pasted is treated; lengths in parts of the scene's shorter side.

    Attributes:
        feather: width of the soft edge, inwards: nothing of the old background comes along.
        band: half the width of the ignored band along a pasted edge that parts object and
            background. At least a pixel each; 0: none.
    """

    feather: float = 0.004
    band: float = 0.004


@dataclass(frozen=True)
class SceneRecipe:
    """What is drawn for a scene. The defaults are the recipe that won the trials.

    Attributes:
        on_background: share of the scenes (of those with an object) in which the object is pasted
            on a background; in the others something else is pasted on a pair, which stays as it is.
        scales: of a pasted object, times the size that it has in a real pair.
        view: the part of a background that is seen, of the largest view with the scene's sides.
        shift: how far a pasted object is moved sideways from the place that it has in a real pair,
            at most, in parts of the scene.
        rise: the same up and down: less, as what stands on the ground would float.
        several: share of the scenes on backgrounds with two or three objects.
        other: probability that something else is pasted too: over an object on a background
            (`other_on_background`), or on a pair (`other_on_pair`), or on an empty scene.
        other_scales: of something else, times its size in the photo it comes from.
        other_shift: how far something else is moved from its place there, in each direction.
        behind: probability that it is pasted behind the object, not over it.
        flip: probability that left and right change places.
        colour_fit: how far colours go towards those of the scene: 0 not at all, 1 all the way.
        least_visible: the part of an object that something else may not hide.
    """

    on_background: float = 0.5
    view: Interval = Interval(0.6, 1.0)
    scales: Interval = Interval(0.4, 0.9)
    shift: float = 0.33
    rise: float = 0.15
    several: float = 0.2
    other_on_background: float = 0.5
    other_on_pair: float = 0.7
    other_scales: Interval = Interval(0.3, 0.7)
    other_shift: float = 0.45
    behind: float = 0.5
    flip: float = 0.5
    colour_fit: Interval = Interval(0.0, 0.4)
    least_visible: float = 0.3
    finish: Finish = Finish()

"""Scenes of the tiny world: a ground, one or two objects, their exact masks and a caption.

Everything follows from one seed, so a scene is named by an integer.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from scripts.tiny_world.world.looks import (
    CLASHES,
    COLOURS,
    GROUNDS,
    NAMED_LOOKS,
    TEXTURES,
    Look,
    paint_look,
)
from scripts.tiny_world.world.shapes import SHAPES, Part

SIDE = 128  # px, the side of a rendered image
SUPERSAMPLING = 2  # drawn at twice the size, then averaged down: smooth edges
TWO_OBJECTS = 0.2  # share of the scenes with a second object
NAMED = 0.3  # share of the looks taken from those that have a name
PERIOD, PERIODS = 0.26, (0.16, 0.22)  # of a texture: of its object's side; bounds, of the image's
TILT = 12.0  # degrees, the largest rotation


@dataclass(frozen=True)
class Thing:
    """An object of a scene: what it is, what it wears, where. Lengths in image sides, [0, 1]."""

    category: str
    look: Look
    centre: tuple[float, float]  # (x, y)
    size: float  # side of its square
    angle: float  # degrees
    mirrored: bool
    shape_seed: int


@dataclass(frozen=True)
class Scene:
    ground: str
    things: tuple[Thing, ...]
    seed: int


@dataclass(frozen=True)
class Rendering:
    """``image`` uint8 (h, w, 3); ``masks`` bool (things, h, w), what is visible of each thing."""

    image: np.ndarray
    masks: np.ndarray


def random_look(rng: np.random.Generator) -> Look:
    if rng.random() < NAMED:
        return NAMED_LOOKS[str(rng.choice(list(NAMED_LOOKS)))]
    texture = str(rng.choice(list(TEXTURES), p=(0.36, 0.16, 0.16, 0.16, 0.16)))
    first, second = rng.choice(list(COLOURS), 2, replace=False)
    return Look(texture, str(first), None if texture == "plain" else str(second))


def random_thing(
    rng: np.random.Generator,
    size: tuple[float, float],
    category: str | None = None,
    look: Look | None = None,
    centre_x: float | None = None,
) -> Thing:
    """A thing of a random category and look (unless given) that lies wholly inside the image."""
    side = rng.uniform(*size)
    low, high = side / 2, 1 - side / 2
    x = rng.uniform(low, high) if centre_x is None else float(np.clip(centre_x, low, high))
    return Thing(
        category=category or str(rng.choice(list(SHAPES))),
        look=look or random_look(rng),
        centre=(x, rng.uniform(low, high)),
        size=side,
        angle=rng.uniform(-TILT, TILT),
        mirrored=bool(rng.random() < 0.5),
        shape_seed=int(rng.integers(2**31)),
    )


def random_scene(
    seed: int, category: str | None = None, look: Look | None = None, alone: bool | None = None
) -> Scene:
    """The scene of a seed; its first thing is of the given category and look, if given.

    With ``alone`` True or False it has one or two things; with None that is left to chance.
    """
    rng = np.random.default_rng((seed, 71))
    single = rng.random() >= TWO_OBJECTS if alone is None else alone
    if single:
        thing = random_thing(rng, (0.58, 0.92), category, look)
        return Scene(_fitting_ground(rng, thing), (thing,), seed)
    sides = rng.permutation([0.27, 0.73]) + rng.uniform(-0.02, 0.02, 2)
    first = random_thing(rng, (0.4, 0.5), category, look, float(sides[0]))
    others = [name for name in SHAPES if name != first.category]
    second = random_thing(rng, (0.4, 0.5), str(rng.choice(others)), None, float(sides[1]))
    return Scene(_fitting_ground(rng, first, second), (first, second), seed)


def _fitting_ground(rng: np.random.Generator, *things: Thing) -> str:
    """A ground on which every thing can be seen."""
    worn = {colour for thing in things for colour in (thing.look.colour, thing.look.second)}
    fitting = [name for name in GROUNDS if not worn & CLASHES.get(name, frozenset())]
    return str(rng.choice(fitting))


def _placed(part: Part, thing: Thing, side: int) -> np.ndarray:
    """The part's corners in pixels of a canvas of ``side``, float64 (n, 2) as (x, y)."""
    points = part.points * (-1.0 if thing.mirrored else 1.0, 1.0)
    angle = np.deg2rad(thing.angle)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ turn.T * thing.size / 2 + np.array(thing.centre)) * side


def _draw(canvas: np.ndarray, thing: Thing, shading: np.ndarray) -> np.ndarray:
    """Paint the thing on ``canvas`` float32 (s, s, 3) in place; its mask, uint8 (s, s) 0/1."""
    side = canvas.shape[0]
    rng = np.random.default_rng(thing.shape_seed)
    parts = SHAPES[thing.category](rng)
    centre = thing.centre[0] * side, thing.centre[1] * side
    period = float(np.clip(PERIOD * thing.size, *PERIODS)) * side
    look = paint_look(thing.look, side, centre, period, rng)
    mask = np.zeros((side, side), np.uint8)
    for part in parts:
        stencil = np.zeros((side, side), np.uint8)
        # Four fractional bits: corners lie between pixels.
        corners = np.round(_placed(part, thing, side) * 16).astype(np.int32)
        cv2.fillPoly(stencil, [corners], 1, shift=4)
        where = stencil.astype(bool)
        canvas[where] = look[where] if part.colour is None else part.colour
        mask |= stencil
    canvas[mask.astype(bool)] += shading[mask.astype(bool)]
    return mask


def render(scene: Scene, side: int = SIDE) -> Rendering:
    """Draw the scene at ``side`` x ``side`` px. Same scene, same bytes."""
    rng = np.random.default_rng((scene.seed, 72))
    large = side * SUPERSAMPLING
    canvas = np.array(GROUNDS[scene.ground](large, rng), dtype=np.float32)
    # A soft light from above, so that things do not look like paper cut-outs.
    shading = np.broadcast_to(np.linspace(10, -14, large)[:, None, None], (large, large, 1))
    drawn: list[np.ndarray] = []
    for thing in scene.things:
        mask = _draw(canvas, thing, shading)
        drawn = [earlier * (1 - mask) for earlier in drawn] + [mask]
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    small += rng.normal(0, 1.5, small.shape)
    masks = [
        cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0.5
        for mask in drawn
    ]
    return Rendering(np.clip(np.round(small), 0, 255).astype(np.uint8), np.stack(masks))

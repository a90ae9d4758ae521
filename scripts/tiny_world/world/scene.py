"""Scenes of the tiny world: a ground, an object, its company, and their exact masks.

Everything follows from one seed, so a scene is named by an integer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from scripts.tiny_world.world.clutter import scatter
from scripts.tiny_world.world.light import Light, cast_shadow, random_light, shading
from scripts.tiny_world.world.looks import (
    CLASHES,
    COLOURS,
    GROUNDS,
    NAMED_LOOKS,
    TEXTURES,
    Look,
    paint_look,
    texture_period,
)
from scripts.tiny_world.world.parts import Part
from scripts.tiny_world.world.shapes import SHAPES, draw_shape, seed_of_kind

SIDE = 128  # px, the side of a rendered image
SUPERSAMPLING = 2  # drawn at twice the size, then averaged down: smooth edges
COMPANY = (0.55, 0.3, 0.15)  # shares of the scenes with none, one and two things beside the first
NAMED = 0.3  # share of the looks taken from those that have a name
TILT = 14.0  # degrees, the largest rotation
SCALES = (0.1, 0.92)  # of the image's side: the smallest and the largest object
SCALE_POWER = 0.42  # large objects are more frequent than small ones: 4 % are below 0.3
BYSTANDER = 0.6  # of the first object's side: what is smaller need not be named by a caption
OVERLAP = 0.36  # of the sum of two sides: the least distance of two things' centres
TRIES = 30  # places tried for a thing before it is left out


@dataclass(frozen=True)
class Thing:
    """An object of a scene: what it is, what it wears, where. Lengths in image sides, [0, 1]."""

    category: str
    look: Look
    centre: tuple[float, float]  # (x, y)
    size: float  # side of its square
    angle: float  # degrees
    mirrored: bool
    shape_seed: int  # chooses its kind, too
    layer: int = 0  # things of a lower layer are drawn first


@dataclass(frozen=True)
class Scene:
    """``things``: first the object that the scene is about, then its company."""

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
    side: float,
    category: str | None = None,
    look: Look | None = None,
    kind: str | None = None,
) -> Thing:
    """A thing of a random category, kind and look (unless given) that lies inside the image."""
    category = category or str(rng.choice(list(SHAPES)))
    shape_seed = int(rng.integers(2**31))
    x, y = rng.uniform(side / 2, 1 - side / 2, 2)
    return Thing(
        category=category,
        look=look or random_look(rng),
        centre=(float(x), float(y)),
        size=side,
        angle=rng.uniform(-TILT, TILT),
        mirrored=bool(rng.random() < 0.5),
        shape_seed=seed_of_kind(category, kind, shape_seed) if kind else shape_seed,
    )


def random_scene(
    seed: int,
    category: str | None = None,
    look: Look | None = None,
    alone: bool | None = None,
    kind: str | None = None,
) -> Scene:
    """The scene of a seed; its first thing is of the given category, look and kind, if given.

    With ``alone`` True it has one thing, with False two; with None one to three, by chance. The
    rare class is in a scene only if ``category`` asks for it.
    """
    rng = np.random.default_rng((seed, 71))
    company = int(rng.choice(3, p=COMPANY)) if alone is None else int(not alone)
    scale = rng.uniform() ** SCALE_POWER
    # Beside others there is less room.
    largest = SCALES[1] if not company else 0.72
    side = SCALES[0] + (largest - SCALES[0]) * scale
    first = random_thing(rng, side, category, look, kind)
    things = [first]
    for _ in range(company):
        if beside := _companion(rng, things, needed=alone is False and len(things) == 1):
            things.append(beside)
    return Scene(_fitting_ground(rng, *things), tuple(things), seed)


def _companion(rng: np.random.Generator, things: list[Thing], needed: bool) -> Thing | None:
    """A thing of another category that hides no more than a part of those that are there.

    None where no place is left, unless it is ``needed``: then the last one tried shrinks until it
    fits.
    """
    first = things[0]
    taken = {thing.category for thing in things}
    category = str(rng.choice([name for name in SHAPES if name not in taken]))
    # Half of the company is nearly as large as the object, half is small beside it.
    share = rng.uniform(0.62, 0.98) if rng.random() < 0.5 else rng.uniform(0.3, BYSTANDER)
    side = max(0.08, share * first.size)
    thing = replace(random_thing(rng, side, category), layer=int(rng.choice((-1, 1))) * len(things))
    for number in range(10 * TRIES if needed else TRIES):
        side = max(0.08, side * (0.97 if number >= TRIES else 1.0))
        x, y = rng.uniform(side / 2, 1 - side / 2, 2)
        thing = replace(thing, centre=(float(x), float(y)), size=side)
        if all(_apart(thing, other) for other in things):
            return thing
    return thing if needed else None


def _apart(one: Thing, other: Thing) -> bool:
    distance = np.hypot(one.centre[0] - other.centre[0], one.centre[1] - other.centre[1])
    return bool(distance >= OVERLAP * (one.size + other.size))


def _fitting_ground(rng: np.random.Generator, *things: Thing) -> str:
    """A ground on which the first thing can be seen, and as many of the others as there can be."""
    for count in range(len(things), 0, -1):
        worn = {c for thing in things[:count] for c in (thing.look.colour, thing.look.second)}
        fitting = [name for name in GROUNDS if not worn & CLASHES.get(name, frozenset())]
        if fitting:
            return str(rng.choice(fitting))
    return "stone"  # which no colour clashes with


def _placed(part: Part, thing: Thing, side: int) -> np.ndarray:
    """The part's corners in pixels of a canvas of ``side``, float64 (n, 2) as (x, y)."""
    points = part.points * (-1.0 if thing.mirrored else 1.0, 1.0)
    angle = np.deg2rad(thing.angle)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ turn.T * thing.size / 2 + np.array(thing.centre)) * side


def _stencil(shape: tuple[int, int], corners: np.ndarray) -> np.ndarray:
    """A polygon, float (n, 2) in pixels, filled: uint8 (h, w) 0/1."""
    stencil = np.zeros(shape, np.uint8)
    # Four fractional bits: corners lie between pixels.
    cv2.fillPoly(stencil, [np.round(corners * 16).astype(np.int32)], 1, shift=4)
    return stencil


def _draw(canvas: np.ndarray, thing: Thing, light: Light) -> np.ndarray:
    """Paint the thing on ``canvas`` float32 (s, s, 3) in place; its mask, uint8 (s, s) 0/1."""
    side = canvas.shape[0]
    parts = draw_shape(thing.category, thing.shape_seed)
    rng = np.random.default_rng((thing.shape_seed, 1))
    corners = [_placed(part, thing, side) for part in parts]
    # Only the window around it is touched, with a margin for its shadow.
    spread = np.concatenate(corners)
    margin = round(0.2 * thing.size * side) + 2
    left, top = np.clip(np.floor(spread.min(axis=0)).astype(int) - margin, 0, side)
    right, bottom = np.clip(np.ceil(spread.max(axis=0)).astype(int) + margin, 0, side)
    window = canvas[top:bottom, left:right]
    shape = window.shape[:2]
    stencils = [_stencil(shape, points - (left, top)) for points in corners]
    mask = np.maximum.reduce(stencils)
    centre = thing.centre[0] * side - left, thing.centre[1] * side - top
    cast_shadow(window, mask, thing.size * side, light)
    period = texture_period(thing.look.texture, thing.size) * side
    look = paint_look(thing.look, shape, centre, period, rng)
    for part, stencil in zip(parts, stencils, strict=True):
        where = stencil.view(bool)
        # Parts of one look are told apart by a little light, as wings are from a body.
        shade = rng.uniform(0.9, 1.06)
        if part.colour is None:
            window[where] = look[where] * shade
        else:
            window[where] = np.array(part.colour) * shade + rng.normal(0, 6, 3)
    inside = mask.view(bool)
    window[inside] += shading(mask, centre, thing.size * side, light)[inside, None]
    whole = np.zeros((side, side), np.uint8)
    whole[top:bottom, left:right] = mask
    return whole


def render(scene: Scene, side: int = SIDE) -> Rendering:
    """Draw the scene at ``side`` x ``side`` px. Same scene, same bytes."""
    rng = np.random.default_rng((scene.seed, 72))
    large = side * SUPERSAMPLING
    canvas = np.array(GROUNDS[scene.ground](large, rng), dtype=np.float32)
    scatter(canvas, scene.ground, rng)
    light = random_light(rng, scene.ground)
    masks = np.zeros((len(scene.things), large, large), np.uint8)
    for index in sorted(range(len(scene.things)), key=lambda i: scene.things[i].layer):
        masks[index] = _draw(canvas, scene.things[index], light)
        masks[np.arange(len(masks)) != index] *= 1 - masks[index]
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    small *= rng.uniform(0.93, 1.06, 3).astype(np.float32)  # the tint of the light
    small += rng.normal(0, 1.5, small.shape)
    visible = [
        cv2.resize(m * 255.0, (side, side), interpolation=cv2.INTER_AREA) > 127.5 for m in masks
    ]
    return Rendering(np.clip(np.round(small), 0, 255).astype(np.uint8), np.stack(visible))

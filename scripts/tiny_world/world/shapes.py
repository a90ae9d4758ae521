"""The categories of the tiny world, each a few filled polygons with random proportions.

A shape lives in the square [-1, 1] x [-1, 1], x to the right and y down, and is a list of parts
drawn in order. A part wears the object's *look* (colours and texture) or has a colour of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WOOD = (112, 74, 44)
DARK = (46, 40, 44)
GLASS = (196, 226, 240)
CREAM = (238, 226, 198)
ROOF = (122, 52, 46)


@dataclass(frozen=True)
class Part:
    """One polygon: ``points`` float64 (n, 2), x and y; ``colour`` RGB, or None to wear the look."""

    points: np.ndarray
    colour: tuple[int, int, int] | None = None


def _polygon(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=np.float64)


def _ellipse(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 2 * np.pi
) -> np.ndarray:
    angles = np.linspace(start, stop, 48)
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom))


def fish(rng: np.random.Generator) -> list[Part]:
    height, tail, fin = rng.uniform(0.4, 0.56), rng.uniform(0.38, 0.55), rng.uniform(0.55, 0.8)
    return [
        Part(_polygon((0.3, 0), (0.95, -tail), (0.78, 0), (0.95, tail))),
        Part(_polygon((-0.4, -height * 0.7), (0.1, -fin), (0.3, -height * 0.5))),
        Part(_ellipse(-0.18, 0, 0.75, height)),
        Part(_ellipse(-0.58, -0.12, 0.11, 0.11), (250, 250, 250)),
        Part(_ellipse(-0.6, -0.12, 0.055, 0.055), DARK),
    ]


def mushroom(rng: np.random.Generator) -> list[Part]:
    width, top, stem = rng.uniform(0.75, 0.95), rng.uniform(0.75, 0.95), rng.uniform(0.2, 0.3)
    rim = rng.uniform(0.0, 0.15)
    stem_points = ((-stem, rim - 0.1), (stem, rim - 0.1), (stem * 1.3, 0.92), (-stem * 1.3, 0.92))
    cap = _ellipse(0, rim, width, top + rim, np.pi, 2 * np.pi)
    brim = _ellipse(0, rim, width, 0.13, 0, np.pi)
    return [Part(_polygon(*stem_points), CREAM), Part(np.concatenate([cap, brim]))]


def house(rng: np.random.Generator) -> list[Part]:
    width, eaves, over = rng.uniform(0.6, 0.75), rng.uniform(-0.15, 0.05), rng.uniform(0.1, 0.2)
    door = rng.uniform(-0.3, 0.15)
    return [
        Part(_box(-width, eaves, width, 0.9)),
        Part(_polygon((-width - over, eaves), (0, -0.92), (width + over, eaves)), ROOF),
        Part(_box(door, 0.4, door + 0.3, 0.9), DARK),
    ]


def boat(rng: np.random.Generator) -> list[Part]:
    deck, sail, jib = rng.uniform(0.35, 0.45), rng.uniform(0.55, 0.75), rng.uniform(0.4, 0.6)
    return [
        Part(_box(-0.04, -0.95, 0.04, deck), DARK),
        Part(_polygon((0.08, -0.92), (0.08, deck - 0.1), (sail + 0.1, deck - 0.1))),
        Part(_polygon((-0.08, -0.75), (-0.08, deck - 0.1), (-jib - 0.1, deck - 0.1))),
        Part(_polygon((-0.92, deck), (0.92, deck), (0.6, 0.88), (-0.6, 0.88)), WOOD),
    ]


def star(rng: np.random.Generator) -> list[Part]:
    inner = rng.uniform(0.38, 0.48)
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 0.95, inner)
    return [Part(np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))]


def heart(rng: np.random.Generator) -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 96)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16 - 0.1
    return [Part(np.stack([x * rng.uniform(0.85, 0.98), y * rng.uniform(0.82, 0.95)], axis=1))]


def tree(rng: np.random.Generator) -> list[Part]:
    width, trunk = rng.uniform(0.62, 0.8), rng.uniform(0.1, 0.16)
    tiers = [Part(_box(-trunk, 0.4, trunk, 0.95), WOOD)]
    for apex, base, share in ((-0.2, 0.55, 1.0), (-0.6, 0.1, 0.8), (-0.95, -0.35, 0.58)):
        tiers.append(Part(_polygon((0, apex), (width * share, base), (-width * share, base))))
    return tiers


def cup(rng: np.random.Generator) -> list[Part]:
    top, bottom, right = rng.uniform(-0.7, -0.55), rng.uniform(0.65, 0.8), rng.uniform(0.3, 0.4)
    foot = rng.uniform(0.35, 0.5)
    handle = _ellipse(right + 0.12, 0.02, 0.42, 0.42, -np.pi / 2, np.pi / 2)
    hole = _ellipse(right + 0.12, 0.02, 0.24, 0.24, np.pi / 2, -np.pi / 2)
    body = _polygon((-0.8, top), (right, top), (foot - 0.25, bottom), (-0.25 - foot, bottom))
    return [
        Part(np.concatenate([handle, hole])),
        Part(body),
        Part(_ellipse((right - 0.8) / 2, top, (right + 0.8) / 2, 0.13), DARK),
    ]


def car(rng: np.random.Generator) -> list[Part]:
    roof, front, back = rng.uniform(-0.78, -0.66), rng.uniform(0.3, 0.5), rng.uniform(-0.7, -0.5)
    cabin = _polygon((back - 0.1, 0.0), (back + 0.1, roof), (front - 0.1, roof), (front + 0.2, 0.0))
    window = _polygon(
        (back + 0.1, -0.1), (back + 0.2, roof + 0.14), (front - 0.16, roof + 0.14), (front, -0.1)
    )
    low = _polygon((-0.95, -0.06), (0.7, -0.1), (0.95, 0.1), (0.95, 0.5), (-0.95, 0.5))
    wheels = [Part(_ellipse(x, 0.5, 0.27, 0.27), DARK) for x in (-0.52, 0.52)]
    return [Part(cabin), Part(window, GLASS), Part(low), *wheels]


def butterfly(rng: np.random.Generator) -> list[Part]:
    upper, lower, spread = rng.uniform(0.42, 0.52), rng.uniform(0.3, 0.4), rng.uniform(0.44, 0.5)
    wings = []
    for side in (-1, 1):
        wings.append(Part(_ellipse(side * (spread - 0.02), -0.32, 0.46, upper)))
        wings.append(Part(_ellipse(side * (spread - 0.1), 0.42, 0.36, lower)))
    return [*wings, Part(_ellipse(0, 0.02, 0.09, 0.62), DARK)]


SHAPES: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "boat": boat,
    "butterfly": butterfly,
    "car": car,
    "cup": cup,
    "fish": fish,
    "heart": heart,
    "house": house,
    "mushroom": mushroom,
    "star": star,
    "tree": tree,
}

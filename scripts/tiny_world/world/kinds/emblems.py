"""Kinds of hearts and stars."""

from __future__ import annotations

import numpy as np

from scripts.tiny_world.world.parts import (
    DARK,
    WOOD,
    Part,
    band,
    box,
    moved,
    polygon,
    wheel,
)


def _heart(width: float, height: float) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 96)
    x = np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16 - 0.1
    return np.stack([x * width, y * height], axis=1)


def plump_heart(rng: np.random.Generator) -> list[Part]:
    return [Part(_heart(rng.uniform(0.85, 0.98), rng.uniform(0.82, 0.95)))]


def slender_heart(rng: np.random.Generator) -> list[Part]:
    """A narrow one whose tip hangs to one side."""
    points = _heart(rng.uniform(0.5, 0.62), 0.98)
    low = np.clip(points[:, 1] + 0.2, 0, None)
    return [Part(points + np.stack([rng.uniform(0.25, 0.4) * low**2, 0 * low], axis=1))]


def pixel_heart(rng: np.random.Generator) -> list[Part]:
    """Made of square steps, as in an old video game."""
    step = rng.uniform(0.24, 0.27)
    rows = ("0110110", "1111111", "1111111", "0111110", "0011100", "0001000")
    parts = []
    for y, row in enumerate(rows):
        for left, right in _runs(row):
            corner = step * (left - 3.5), step * (y - 3)
            parts.append(Part(box(*corner, step * (right - 3.5), step * (y - 2) + 0.01)))
    return parts


def _runs(row: str) -> list[tuple[int, int]]:
    """Where the ones of a row of digits begin and end."""
    edges = np.flatnonzero(np.diff([0, *map(int, row), 0]))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def pierced_heart(rng: np.random.Generator) -> list[Part]:
    drop = rng.uniform(0.4, 0.6)
    shaft = band(polygon((-0.9, -drop), (0.9, drop)), 0.09)
    head = polygon((0.97, drop + 0.04), (0.62, drop + 0.1), (0.78, drop - 0.24))
    feathers = polygon(
        (-0.97, -drop - 0.2), (-0.6, -drop + 0.06), (-0.72, -drop + 0.28), (-0.97, -drop + 0.12)
    )
    return [
        Part(shaft, WOOD),
        Part(_heart(rng.uniform(0.66, 0.74), rng.uniform(0.7, 0.78))),
        Part(head, DARK),
        Part(feathers, DARK),
    ]


def twin_heart(rng: np.random.Generator) -> list[Part]:
    """A large one and a small one that grow together."""
    large, small = rng.uniform(0.64, 0.7), rng.uniform(0.42, 0.5)
    heart = [Part(_heart(0.95, 0.9))]
    return [*moved(heart, small, 0.97 - small, 0.45), *moved(heart, large, large - 0.97, -0.25)]


def pointed_star(rng: np.random.Generator) -> list[Part]:
    return [Part(wheel(5, 0.95, rng.uniform(0.38, 0.48)))]


def sparkle_star(rng: np.random.Generator) -> list[Part]:
    """Four long points with hollow sides."""
    return [Part(wheel(4, 0.97, rng.uniform(0.24, 0.32)) * (rng.uniform(0.7, 0.95), 1.0))]


def six_star(rng: np.random.Generator) -> list[Part]:
    return [Part(wheel(6, 0.95, rng.uniform(0.5, 0.57)))]


def burst_star(rng: np.random.Generator) -> list[Part]:
    return [Part(wheel(int(rng.integers(11, 15)), 0.95, rng.uniform(0.6, 0.68)))]


def sea_star(rng: np.random.Generator) -> list[Part]:
    """Five thick arms with round tips and sides, as of a starfish."""
    angles = np.linspace(0, 2 * np.pi, 160)
    waist = rng.uniform(0.3, 0.38)
    radii = waist + (0.95 - waist) * (0.5 + 0.5 * np.cos(5 * (angles + np.pi / 2))) ** 1.5
    return [Part(np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))]


HEARTS = {
    "plump": plump_heart,
    "slender": slender_heart,
    "pixel": pixel_heart,
    "pierced": pierced_heart,
    "twin": twin_heart,
}
STARS = {
    "pointed": pointed_star,
    "sparkle": sparkle_star,
    "six": six_star,
    "burst": burst_star,
    "sea": sea_star,
}

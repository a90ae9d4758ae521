"""Kinds of mushrooms and trees."""

from __future__ import annotations

import numpy as np

from scripts.tiny_world.world.parts import (
    CREAM,
    WOOD,
    Part,
    band,
    bow,
    box,
    ellipse,
    moved,
    polygon,
)


def toadstool(rng: np.random.Generator) -> list[Part]:
    width, top, stem = rng.uniform(0.75, 0.95), rng.uniform(0.75, 0.95), rng.uniform(0.2, 0.3)
    rim = rng.uniform(0.0, 0.15)
    stem_points = ((-stem, rim - 0.1), (stem, rim - 0.1), (stem * 1.3, 0.92), (-stem * 1.3, 0.92))
    cap = ellipse(0, rim, width, top + rim, np.pi, 2 * np.pi)
    brim = ellipse(0, rim, width, 0.13, 0, np.pi)
    return [Part(polygon(*stem_points), CREAM), Part(np.concatenate([cap, brim]))]


def parasol_mushroom(rng: np.random.Generator) -> list[Part]:
    width, stem, ring = rng.uniform(0.84, 0.96), rng.uniform(0.08, 0.13), rng.uniform(-0.1, 0.15)
    top = np.concatenate(
        [
            bow((-width, -0.4), (-0.5, -0.72), (-0.14, -0.74)),
            [(0.0, -0.88)],
            bow((0.14, -0.74), (0.5, -0.72), (width, -0.4)),
        ]
    )
    cap = np.concatenate([top, bow((width, -0.4), (0, -0.2), (-width, -0.4))])
    return [
        Part(box(-stem, -0.5, stem, 0.92), CREAM),
        Part(ellipse(0, ring, stem * 2.2, 0.07), CREAM),
        Part(ellipse(0, 0.88, stem * 2, 0.1), CREAM),
        Part(cap),
    ]


def funnel_mushroom(rng: np.random.Generator) -> list[Part]:
    width, stem = rng.uniform(0.75, 0.92), rng.uniform(0.16, 0.24)
    left = bow((-width, -0.72), (-stem, -0.3), (-stem, 0.35))
    cup = np.concatenate([left, left[::-1] * (-1, 1)])
    rim = polygon(
        (-width, -0.72),
        (-0.45, -0.88),
        (0, -0.7),
        (0.45, -0.88),
        (width, -0.72),
        (0.4, -0.5),
        (-0.4, -0.5),
    )
    foot = polygon((-stem, 0.3), (stem, 0.3), (stem * 1.2, 0.92), (-stem * 1.2, 0.92))
    return [Part(foot, CREAM), Part(cup), Part(rim)]


def morel_mushroom(rng: np.random.Generator) -> list[Part]:
    width, stem, lean = rng.uniform(0.44, 0.55), rng.uniform(0.2, 0.27), rng.uniform(-0.1, 0.1)
    cap = np.concatenate(
        [
            bow((-width, 0.15), (-width, -0.85), (lean, -0.95)),
            bow((lean, -0.95), (width, -0.85), (width, 0.15)),
        ]
    )
    brim = ellipse(0, 0.15, width, 0.16, 0, np.pi)
    return [
        Part(polygon((-stem, 0.1), (stem, 0.1), (stem * 1.4, 0.92), (-stem * 1.4, 0.92)), CREAM),
        Part(np.concatenate([cap, brim])),
    ]


def mushroom_cluster(rng: np.random.Generator) -> list[Part]:
    parts: list[Part] = []
    for x, scale in ((-0.6, 0.34), (0.6, 0.36), (0.0, 0.72)):
        size = scale * rng.uniform(0.92, 1.1)
        parts += moved(toadstool(rng), size, x, 0.92 - 0.92 * size)
    return parts


def fir_tree(rng: np.random.Generator) -> list[Part]:
    width, trunk = rng.uniform(0.62, 0.8), rng.uniform(0.1, 0.16)
    tiers = [Part(box(-trunk, 0.4, trunk, 0.95), WOOD)]
    for apex, base, share in ((-0.2, 0.55, 1.0), (-0.6, 0.1, 0.8), (-0.95, -0.35, 0.58)):
        tiers.append(Part(polygon((0, apex), (width * share, base), (-width * share, base))))
    return tiers


def leafy_tree(rng: np.random.Generator) -> list[Part]:
    trunk = rng.uniform(0.1, 0.15)
    parts = [
        Part(
            polygon((-trunk, -0.1), (trunk, -0.1), (trunk * 1.7, 0.95), (-trunk * 1.7, 0.95)), WOOD
        ),
        Part(band(polygon((0.05, 0.45), (0.45, 0.0)), 0.12), WOOD),
    ]
    for x, y, radius in ((-0.5, -0.1, 0.42), (0.5, -0.12, 0.44), (0, -0.5, 0.46), (0, 0, 0.4)):
        size = radius * rng.uniform(0.88, 1.05)
        parts.append(Part(ellipse(x, y, size, size)))
    return parts


def palm_tree(rng: np.random.Generator) -> list[Part]:
    lean = rng.uniform(0.05, 0.4)
    trunk = band(bow((lean, 0.95), (lean * 0.6, 0.2), (-0.1, -0.4)), np.linspace(0.24, 0.13, 24))
    widths = 0.24 * np.sin(np.linspace(0.3, np.pi, 24))
    parts = [Part(trunk, WOOD)]
    for x, y in ((-0.95, 0.1), (0.85, 0.12), (-0.85, -0.55), (0.75, -0.6), (0.0, -0.95)):
        middle = (x * 0.55 - 0.05, y * 0.3 - 0.75)
        parts.append(Part(band(bow((-0.1, -0.42), middle, (x, y)), widths)))
    return parts


def cypress_tree(rng: np.random.Generator) -> list[Part]:
    width, trunk = rng.uniform(0.26, 0.36), rng.uniform(0.07, 0.1)
    right = np.concatenate(
        [
            bow((0, -0.97), (width * 1.2, -0.4), (width, 0.2)),
            bow((width, 0.2), (width, 0.66), (0, 0.72)),
        ]
    )
    return [
        Part(box(-trunk, 0.6, trunk, 0.96), WOOD),
        Part(np.concatenate([right, right[::-1] * (-1, 1)])),
    ]


def acacia_tree(rng: np.random.Generator) -> list[Part]:
    fork, crown = rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.26)
    trunk = band(bow((0.05, 0.95), (0.0, 0.5), (0, fork)), np.linspace(0.24, 0.15, 24))
    left = band(polygon((0, fork + 0.05), (-0.5, -0.4)), 0.12)
    right = band(polygon((0, fork + 0.05), (0.45, -0.4)), 0.12)
    return [
        Part(trunk, WOOD),
        Part(left, WOOD),
        Part(right, WOOD),
        Part(ellipse(-0.45, -0.4, 0.5, crown)),
        Part(ellipse(0.45, -0.42, 0.5, crown)),
        Part(ellipse(0.0, -0.6, 0.62, crown)),
    ]


MUSHROOMS = {
    "toadstool": toadstool,
    "parasol": parasol_mushroom,
    "funnel": funnel_mushroom,
    "morel": morel_mushroom,
    "cluster": mushroom_cluster,
}
TREES = {
    "fir": fir_tree,
    "leafy": leafy_tree,
    "palm": palm_tree,
    "cypress": cypress_tree,
    "acacia": acacia_tree,
}

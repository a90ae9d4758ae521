"""Kinds of cups and houses."""

from __future__ import annotations

import numpy as np

from scripts.tiny_world.world.parts import (
    CREAM,
    DARK,
    GLASS,
    PALE,
    ROOF,
    WOOD,
    Part,
    band,
    bow,
    box,
    ellipse,
    polygon,
)


def _handle(x: float, y: float, radius: float, thickness: float) -> Part:
    """A half ring that opens to the left."""
    inner = radius - thickness
    outside = ellipse(x, y, radius, radius, -np.pi / 2, np.pi / 2)
    inside = ellipse(x, y, inner, inner, np.pi / 2, -np.pi / 2)
    return Part(np.concatenate([outside, inside]))


def mug(rng: np.random.Generator) -> list[Part]:
    top, bottom, right = rng.uniform(-0.75, -0.6), rng.uniform(0.7, 0.85), rng.uniform(0.3, 0.4)
    foot = right - rng.uniform(0.0, 0.12)
    body = polygon((-0.82, top), (right, top), (foot, bottom), (-0.52 - foot, bottom))
    middle, half = (right - 0.82) / 2, (right + 0.82) / 2
    return [
        _handle(right - 0.02, 0.04, 0.48, 0.17),
        Part(body),
        Part(ellipse(middle, top, half, 0.13), DARK),
    ]


def goblet(rng: np.random.Generator) -> list[Part]:
    rim, waist = rng.uniform(0.48, 0.62), rng.uniform(0.05, 0.2)
    side = bow((-rim, -0.85), (-rim * 1.1, waist), (0, waist))
    bowl = np.concatenate([side, side[::-1] * (-1, 1)])
    foot = np.concatenate(
        [
            polygon((-0.09, 0.1)),
            bow((-0.07, 0.5), (-0.1, 0.82), (-0.5, 0.88)),
            polygon((-0.5, 0.97), (0.5, 0.97)),
            bow((0.5, 0.88), (0.1, 0.82), (0.07, 0.5)),
            polygon((0.09, 0.1)),
        ]
    )
    return [Part(foot), Part(bowl), Part(ellipse(0, -0.85, rim, 0.1), DARK)]


def tea_cup(rng: np.random.Generator) -> list[Part]:
    rim, top = rng.uniform(0.6, 0.7), rng.uniform(-0.4, -0.28)
    bowl = ellipse(-0.1, top, rim, 0.92, 0, np.pi)
    saucer = polygon((-0.95, 0.55), (0.85, 0.55), (0.5, 0.78), (-0.6, 0.78))
    return [
        Part(saucer, CREAM),
        _handle(rim - 0.22, top + 0.3, 0.3, 0.12),
        Part(bowl),
        Part(ellipse(-0.1, top, rim, 0.12), DARK),
    ]


def takeaway_cup(rng: np.random.Generator) -> list[Part]:
    rim, foot, lid = rng.uniform(0.44, 0.52), rng.uniform(0.28, 0.36), rng.uniform(-0.55, -0.42)
    return [
        Part(band(polygon((0.05, lid), (0.22, -0.97)), 0.09), DARK),
        Part(polygon((-rim, lid), (rim, lid), (foot, 0.93), (-foot, 0.93))),
        Part(
            polygon(
                (-rim * 0.85, lid - 0.2),
                (rim * 0.85, lid - 0.2),
                (rim + 0.08, lid + 0.06),
                (-rim - 0.08, lid + 0.06),
            ),
            PALE,
        ),
    ]


def trophy_cup(rng: np.random.Generator) -> list[Part]:
    rim, waist = rng.uniform(0.46, 0.56), rng.uniform(0.2, 0.32)
    side = bow((-rim, -0.82), (-rim * 0.95, waist), (-0.1, waist + 0.1))
    bowl = np.concatenate([side, side[::-1] * (-1, 1)])
    ear = _handle(rim - 0.08, -0.4, 0.36, 0.13)
    return [
        ear,
        Part(ear.points * (-1, 1)),
        Part(box(-0.09, 0.2, 0.09, 0.7)),
        Part(box(-0.42, 0.66, 0.42, 0.94), WOOD),
        Part(bowl),
        Part(ellipse(0, -0.82, rim, 0.1), DARK),
    ]


def _window(x: float, y: float, side: float = 0.22) -> Part:
    return Part(box(x, y, x + side, y + side), GLASS)


def cottage(rng: np.random.Generator) -> list[Part]:
    width, eaves, over = rng.uniform(0.6, 0.75), rng.uniform(-0.15, 0.05), rng.uniform(0.1, 0.2)
    door = rng.uniform(-0.3, -0.1)
    return [
        Part(box(-width, eaves, width, 0.9)),
        Part(polygon((-width - over, eaves), (0, -0.92), (width + over, eaves)), ROOF),
        Part(box(door, 0.4, door + 0.3, 0.9), DARK),
        _window(0.28, 0.3),
    ]


def tower_house(rng: np.random.Generator) -> list[Part]:
    width, eaves = rng.uniform(0.26, 0.34), rng.uniform(-0.45, -0.32)
    return [
        Part(box(-width, eaves, width, 0.93)),
        Part(polygon((-width - 0.14, eaves), (0, -0.97), (width + 0.14, eaves)), ROOF),
        Part(ellipse(0, eaves + 0.28, 0.12, 0.16), GLASS),
        Part(
            np.concatenate(
                [
                    ellipse(0, 0.62, 0.15, 0.2, np.pi, 2 * np.pi),
                    polygon((0.15, 0.93), (-0.15, 0.93)),
                ]
            ),
            DARK,
        ),
    ]


def block_house(rng: np.random.Generator) -> list[Part]:
    width, top = rng.uniform(0.55, 0.72), rng.uniform(-0.92, -0.78)
    columns = (-0.62 * width, -0.1, 0.62 * width - 0.2)
    panes = [_window(x, y, 0.2) for x in columns for y in (top + 0.25, top + 0.66)]
    return [
        Part(box(-width, top, width, 0.93)),
        Part(box(-width - 0.08, top - 0.05, width + 0.08, top + 0.1), ROOF),
        *panes,
        Part(box(-0.14, 0.5, 0.14, 0.93), DARK),
    ]


def cabin_house(rng: np.random.Generator) -> list[Part]:
    """Its roof reaches down to the ground."""
    width, slab = rng.uniform(0.7, 0.85), rng.uniform(0.16, 0.22)
    left = band(polygon((-width - 0.08, 0.92), (0.06, -0.92)), slab)
    return [
        Part(polygon((-width, 0.9), (0, -0.85), (width, 0.9))),
        Part(left, ROOF),
        Part(left * (-1, 1), ROOF),
        Part(box(-0.15, 0.42, 0.15, 0.9), DARK),
        _window(-0.11, -0.05),
    ]


def round_house(rng: np.random.Generator) -> list[Part]:
    """A dome of snow or clay with a porch."""
    width, top = rng.uniform(0.8, 0.94), rng.uniform(1.2, 1.4)
    dome = np.concatenate(
        [ellipse(0, 0.75, width, top, np.pi, 2 * np.pi), polygon((width, 0.85), (-width, 0.85))]
    )
    porch = np.concatenate(
        [ellipse(0, 0.5, 0.34, 0.4, np.pi, 2 * np.pi), polygon((0.34, 0.88), (-0.34, 0.88))]
    )
    hole = np.concatenate(
        [ellipse(0, 0.56, 0.2, 0.28, np.pi, 2 * np.pi), polygon((0.2, 0.88), (-0.2, 0.88))]
    )
    return [
        Part(box(0.3, 0.55 - top, 0.5, 0.0), ROOF),
        Part(dome),
        Part(porch, ROOF),
        Part(hole, DARK),
    ]


CUPS = {
    "mug": mug,
    "goblet": goblet,
    "tea_cup": tea_cup,
    "takeaway": takeaway_cup,
    "trophy": trophy_cup,
}
HOUSES = {
    "cottage": cottage,
    "tower": tower_house,
    "block": block_house,
    "cabin": cabin_house,
    "round": round_house,
}

"""Kinds of birds."""

from __future__ import annotations

import numpy as np

from scripts.tiny_world.world.parts import BEAK, DARK, PALE, Part, band, bow, ellipse, eye, polygon


def _legs(x: float, top: float, apart: float) -> list[Part]:
    sides = (x - apart, x + apart)
    return [
        Part(polygon((s, top), (s + 0.06, top), (s + 0.06, 0.95), (s - 0.1, 0.95)), BEAK)
        for s in sides
    ]


def song_bird(rng: np.random.Generator) -> list[Part]:
    belly, tail = rng.uniform(0.4, 0.5), rng.uniform(-0.35, 0.0)
    return [
        *_legs(-0.05, 0.4, 0.13),
        Part(polygon((0.3, -0.15), (0.97, tail - 0.12), (0.95, tail + 0.14), (0.35, 0.25))),
        Part(ellipse(-0.02, 0.08, 0.55, belly)),
        Part(ellipse(-0.45, -0.42, 0.32, 0.32)),
        Part(polygon((-0.72, -0.5), (-0.97, -0.38), (-0.72, -0.3)), BEAK),
        Part(polygon((-0.15, -0.1), (0.55, 0.0), (0.2, 0.3))),
        *eye(-0.53, -0.48, 0.09),
    ]


def duck(rng: np.random.Generator) -> list[Part]:
    keel, neck = rng.uniform(0.4, 0.5), rng.uniform(-0.55, -0.42)
    hull = np.concatenate(
        [
            bow((-0.75, 0.15), (-0.5, keel + 0.75), (0.5, 0.62)),
            [(0.97, -0.12)],
            bow((0.6, 0.16), (0.1, 0.1), (-0.3, 0.12)),
        ]
    )
    return [
        Part(band(bow((-0.45, neck), (-0.4, -0.1), (-0.4, 0.3)), 0.34)),
        Part(hull),
        Part(ellipse(-0.5, neck, 0.27, 0.27)),
        Part(polygon((-0.7, neck - 0.08), (-0.97, neck + 0.1), (-0.68, neck + 0.16)), BEAK),
        Part(polygon((-0.2, 0.24), (0.6, 0.24), (0.1, 0.55))),
        *eye(-0.56, neck - 0.07, 0.08),
    ]


def owl(rng: np.random.Generator) -> list[Part]:
    width, ear = rng.uniform(0.5, 0.62), rng.uniform(-0.97, -0.88)
    body = ellipse(0, 0.1, width, 0.8)
    ears = [Part(polygon((s * 0.12, -0.62), (s * 0.48, ear), (s * 0.5, -0.3))) for s in (-1, 1)]
    wings = [
        Part(polygon((s * width * 0.8, -0.25), (s * (width + 0.2), 0.4), (s * width * 0.6, 0.72)))
        for s in (-1, 1)
    ]
    discs = [Part(ellipse(s * 0.23, -0.3, 0.22, 0.22), PALE) for s in (-1, 1)]
    pupils = [Part(ellipse(s * 0.2, -0.3, 0.1, 0.1), DARK) for s in (-1, 1)]
    beak = Part(polygon((-0.09, -0.2), (0.09, -0.2), (0, 0.04)), BEAK)
    feet = [Part(ellipse(s * 0.2, 0.88, 0.15, 0.08), BEAK) for s in (-1, 1)]
    return [*feet, Part(body), *ears, *wings, *discs, *pupils, beak]


def flamingo(rng: np.random.Generator) -> list[Part]:
    reach, body = rng.uniform(-0.55, -0.4), rng.uniform(0.2, 0.27)
    neck = np.concatenate(
        [
            bow((-0.05, 0.0), (-0.75, 0.0), (-0.4, -0.4)),
            bow((-0.4, -0.4), (-0.15, -0.85), (reach, -0.8)),
        ]
    )
    leg = band(polygon((0.2, 0.1), (0.16, 0.55), (0.2, 0.95)), 0.08)
    bent = band(polygon((0.32, 0.1), (0.5, 0.5), (0.18, 0.62)), 0.07)
    return [
        Part(leg, BEAK),
        Part(bent, BEAK),
        Part(band(neck, 0.16)),
        Part(ellipse(0.28, -0.02, 0.5, body)),
        Part(polygon((0.5, -0.1), (0.97, 0.16), (0.55, 0.2))),
        Part(ellipse(reach - 0.02, -0.78, 0.17, 0.14)),
        Part(polygon((reach - 0.1, -0.86), (reach - 0.4, -0.62), (reach - 0.1, -0.68)), DARK),
        *eye(reach - 0.03, -0.82, 0.055),
    ]


def penguin(rng: np.random.Generator) -> list[Part]:
    width, flipper = rng.uniform(0.4, 0.48), rng.uniform(0.68, 0.82)
    flippers = [
        Part(
            polygon(
                (s * 0.25, -0.35), (s * flipper, 0.3), (s * (flipper - 0.16), 0.36), (s * 0.3, 0.15)
            )
        )
        for s in (-1, 1)
    ]
    feet = [Part(ellipse(s * 0.22, 0.88, 0.2, 0.09), BEAK) for s in (-1, 1)]
    return [
        *feet,
        *flippers,
        Part(ellipse(0, 0.22, width, 0.68)),
        Part(ellipse(0, -0.58, 0.33, 0.36)),
        Part(ellipse(-0.06, 0.3, width * 0.62, 0.5), PALE),
        Part(polygon((-0.2, -0.62), (-0.58, -0.5), (-0.2, -0.44)), BEAK),
        *eye(-0.12, -0.68, 0.08),
    ]


BIRDS = {
    "song_bird": song_bird,
    "duck": duck,
    "owl": owl,
    "flamingo": flamingo,
    "penguin": penguin,
}

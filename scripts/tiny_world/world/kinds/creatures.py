"""Kinds of fish and butterflies."""

from __future__ import annotations

import numpy as np

from scripts.tiny_world.world.parts import DARK, Part, band, bow, ellipse, eye, polygon


def reef_fish(rng: np.random.Generator) -> list[Part]:
    height, tail, fin = rng.uniform(0.4, 0.56), rng.uniform(0.38, 0.55), rng.uniform(0.55, 0.8)
    return [
        Part(polygon((0.3, 0), (0.95, -tail), (0.78, 0), (0.95, tail))),
        Part(polygon((-0.4, -height * 0.7), (0.1, -fin), (0.3, -height * 0.5))),
        Part(ellipse(-0.18, 0, 0.75, height)),
        *eye(-0.58, -0.12),
    ]


def eel(rng: np.random.Generator) -> list[Part]:
    t = np.linspace(-0.82, 0.92, 40)
    sway, phase = rng.uniform(0.2, 0.34), rng.uniform(0, 2 * np.pi)
    path = np.stack([t, sway * np.sin(3.4 * t + phase)], axis=1)
    widths = rng.uniform(0.36, 0.44) * (1 - 0.75 * (t + 0.82) / 1.74)
    head = ellipse(path[2, 0] + 0.02, path[2, 1], 0.17, widths[0] / 2 + 0.03)
    return [Part(band(path, widths)), Part(head), *eye(-0.76, float(path[2, 1]) - 0.05, 0.085)]


def puffer_fish(rng: np.random.Generator) -> list[Part]:
    radius, spines = rng.uniform(0.58, 0.68), int(rng.integers(10, 14))
    angles = np.linspace(0, 2 * np.pi, 4 * spines, endpoint=False)
    radii = np.where(np.arange(4 * spines) % 4 == 0, radius + 0.2, radius)
    body = np.stack([radii * np.cos(angles) - 0.1, radii * np.sin(angles)], axis=1)
    return [
        Part(polygon((radius * 0.8, 0), (0.97, -0.26), (0.97, 0.26))),
        Part(body),
        *eye(-0.48, -0.16, 0.14),
    ]


def angel_fish(rng: np.random.Generator) -> list[Part]:
    height = rng.uniform(0.86, 0.96)
    fins = polygon(
        (-0.5, -0.2), (0.3, -height), (0.36, -0.1), (0.36, 0.1), (0.3, height), (-0.5, 0.2)
    )
    body = polygon((-0.85, 0.02), (-0.3, -0.42), (0.2, -0.4), (0.5, 0), (0.2, 0.42), (-0.3, 0.42))
    return [
        Part(polygon((0.42, 0), (0.92, -0.34), (0.8, 0), (0.92, 0.34))),
        Part(fins),
        Part(body),
        *eye(-0.5, -0.06),
    ]


def ray_fish(rng: np.random.Generator) -> list[Part]:
    width, tail = rng.uniform(0.82, 0.95), rng.uniform(-0.35, 0.35)
    side = bow((0, -0.62), (width * 0.5, -0.42), (width, 0.08))
    rear = bow((width, 0.08), (width * 0.35, 0.12), (0, 0.48))
    right = np.concatenate([side, rear])
    disc = np.concatenate([right, right[::-1] * (-1, 1)])
    whip = band(bow((0, 0.3), (tail, 0.6), (tail * 0.5, 0.95)), np.linspace(0.16, 0.05, 24))
    return [Part(whip), Part(disc), *eye(-0.16, -0.3, 0.1), *eye(0.16, -0.3, 0.1)]


def _both_sides(wing: np.ndarray) -> list[Part]:
    return [Part(wing), Part(wing * (-1, 1))]


def _feelers(top: float, spread: float) -> list[Part]:
    right = band(bow((0.02, top), (spread * 0.4, top - 0.3), (spread, -0.95)), 0.05)
    return [Part(right, DARK), Part(right * (-1, 1), DARK)]


def round_butterfly(rng: np.random.Generator) -> list[Part]:
    upper, lower, spread = rng.uniform(0.42, 0.52), rng.uniform(0.3, 0.4), rng.uniform(0.44, 0.5)
    return [
        *_both_sides(ellipse(spread - 0.02, -0.32, 0.46, upper)),
        *_both_sides(ellipse(spread - 0.1, 0.42, 0.36, lower)),
        Part(ellipse(0, 0.02, 0.09, 0.62), DARK),
        *_feelers(-0.5, 0.25),
    ]


def swallowtail_butterfly(rng: np.random.Generator) -> list[Part]:
    tip, tail = rng.uniform(-0.85, -0.65), rng.uniform(0.26, 0.4)
    upper = polygon((0, -0.3), (0.95, tip), (0.8, -0.05), (0, 0.15))
    lower = polygon((0, 0), (0.72, 0.05), (0.62, 0.42), (tail + 0.12, 0.5), (tail, 0.95), (0, 0.4))
    return [
        *_both_sides(lower),
        *_both_sides(upper),
        Part(ellipse(0, 0.0, 0.07, 0.5), DARK),
        *_feelers(-0.4, 0.3),
    ]


def moth_butterfly(rng: np.random.Generator) -> list[Part]:
    width, low = rng.uniform(0.82, 0.95), rng.uniform(0.5, 0.7)
    wing = np.concatenate([bow((0, -0.5), (width * 0.5, -0.3), (width, low)), [(0.0, 0.45)]])
    comb = polygon((0.02, -0.6), (0.42, -0.95), (0.5, -0.68))
    return [
        Part(comb, DARK),
        Part(comb * (-1, 1), DARK),
        *_both_sides(wing),
        Part(ellipse(0, 0.08, 0.17, 0.64), DARK),
    ]


def folded_butterfly(rng: np.random.Generator) -> list[Part]:
    """Seen from the side, at rest, its wings closed above its body."""
    high, back = rng.uniform(0.85, 0.95), rng.uniform(0.62, 0.8)
    root, tip = (-0.3, 0.55), (back - 0.2, -high)
    front = bow(root, (-0.55, -high * 0.8), tip)
    upper = np.concatenate([front, bow(tip, (back + 0.4, -0.5), (0.4, 0.2))])
    lower = np.concatenate(
        [bow(root, (0.3, -0.5), (0.85, 0.1)), bow((0.85, 0.1), (0.95, 0.95), (-0.1, 0.7))]
    )
    body = band(bow((-0.6, 0.5), (-0.2, 0.72), (0.3, 0.72)), np.linspace(0.18, 0.08, 24))
    feelers = [band(bow((-0.62, 0.45), (-0.75, 0.1), (x, -0.25)), 0.05) for x in (-0.95, -0.72)]
    return [
        Part(lower),
        Part(upper),
        *(Part(feeler, DARK) for feeler in feelers),
        Part(body, DARK),
        Part(ellipse(-0.64, 0.47, 0.12, 0.12), DARK),
    ]


def long_winged_butterfly(rng: np.random.Generator) -> list[Part]:
    lift, thick = rng.uniform(0.3, 0.5), rng.uniform(0.28, 0.36)
    widths = thick * np.sin(np.linspace(0.25, np.pi - 0.2, 24))
    upper = band(bow((0, -0.1), (0.5, -lift), (0.97, -lift - 0.15)), widths)
    lower = band(bow((0, 0.1), (0.4, 0.25), (0.72, 0.6)), widths * 0.9)
    return [
        *_both_sides(lower),
        *_both_sides(upper),
        Part(ellipse(0, 0.1, 0.08, 0.7), DARK),
        *_feelers(-0.5, 0.2),
    ]


FISH = {
    "reef": reef_fish,
    "eel": eel,
    "puffer": puffer_fish,
    "angel": angel_fish,
    "ray": ray_fish,
}
BUTTERFLIES = {
    "round": round_butterfly,
    "swallowtail": swallowtail_butterfly,
    "moth": moth_butterfly,
    "folded": folded_butterfly,
    "long_winged": long_winged_butterfly,
}

"""Small things without a name that lie about on the grounds: blades, pebbles, clouds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from scripts.tiny_world.world.parts import Colour

Scatter = Callable[[np.ndarray, "Clutter", int, np.random.Generator], None]


def _place(canvas: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    x, y = rng.integers(0, canvas.shape[0], 2)
    return int(x), int(y)


def _shade(clutter: Clutter, rng: np.random.Generator) -> tuple[float, float, float]:
    base = clutter.colours[int(rng.integers(len(clutter.colours)))]
    red, green, blue = np.array(base) + rng.normal(0, 8)
    return float(red), float(green), float(blue)


def pebbles(canvas: np.ndarray, clutter: Clutter, count: int, rng: np.random.Generator) -> None:
    side = canvas.shape[0]
    for _ in range(count):
        width = rng.uniform(*clutter.sizes) * side
        axes = (max(1, round(width)), max(1, round(width * rng.uniform(0.4, 0.9))))
        (x, y), shade = _place(canvas, rng), _shade(clutter, rng)
        turn = float(rng.uniform(0, 180))
        dark = tuple(0.72 * level for level in shade)
        cv2.ellipse(canvas, (x, y + max(1, axes[1] // 3)), axes, turn, 0, 360, dark, -1)
        cv2.ellipse(canvas, (x, y), axes, turn, 0, 360, shade, -1)


def strokes(canvas: np.ndarray, clutter: Clutter, count: int, rng: np.random.Generator) -> None:
    """Tufts of one to four lines each, within ``clutter.turn`` degrees of its slant."""
    side = canvas.shape[0]
    for _ in range(count):
        (x, y), shade = _place(canvas, rng), _shade(clutter, rng)
        for _ in range(int(rng.integers(1, 5))):
            length = rng.uniform(*clutter.sizes) * side
            angle = np.deg2rad(clutter.slant + rng.uniform(-clutter.turn, clutter.turn))
            tip = round(x + length * np.cos(angle)), round(y + length * np.sin(angle))
            cv2.line(canvas, (x, y), tip, shade, int(rng.integers(1, 4)))


def puffs(canvas: np.ndarray, clutter: Clutter, count: int, rng: np.random.Generator) -> None:
    """Soft clouds of a few discs, drawn small and enlarged, which makes them soft."""
    small = canvas.shape[0] // 8
    veil = np.zeros((small, small), np.float32)
    for _ in range(max(1, count // 4)):
        x, y = rng.integers(0, small, 2)
        for _ in range(4):
            radius = rng.uniform(*clutter.sizes) * small
            at = round(x + rng.normal(0, 1.6 * radius)), round(y + rng.normal(0, 0.4 * radius))
            axes = (max(1, round(1.4 * radius)), max(1, round(0.7 * radius)))
            cv2.ellipse(veil, at, axes, 0, 0, 360, 0.8, -1)
    side = canvas.shape[0]
    soft = cv2.resize(cv2.blur(veil, (3, 3)), (side, side), interpolation=cv2.INTER_LINEAR)
    canvas += soft[..., None] * (np.array(_shade(clutter, rng), np.float32) - canvas)


@dataclass(frozen=True)
class Clutter:
    scatter: Scatter
    most: int  # pieces on a full ground
    sizes: tuple[float, float]  # of the image's side
    colours: tuple[Colour, ...]
    slant: float = -90.0  # degrees, of strokes
    turn: float = 30.0  # degrees that strokes may turn away from it


CLUTTER: dict[str, tuple[Clutter, ...]] = {
    "grass": (
        Clutter(strokes, 45, (0.02, 0.07), ((70, 132, 52), (130, 192, 96), (88, 150, 60))),
        Clutter(pebbles, 8, (0.006, 0.014), ((240, 240, 200), (206, 190, 120), (150, 150, 130))),
    ),
    "night": (
        Clutter(pebbles, 30, (0.002, 0.006), ((210, 210, 230), (150, 160, 210))),
        Clutter(puffs, 8, (0.05, 0.12), ((44, 44, 92), (26, 28, 70))),
    ),
    "sand": (
        Clutter(pebbles, 22, (0.006, 0.024), ((196, 170, 118), (236, 222, 186), (170, 150, 116))),
        Clutter(strokes, 8, (0.04, 0.12), ((200, 176, 124), (236, 216, 168)), 0.0, 25.0),
    ),
    "sky": (Clutter(puffs, 16, (0.05, 0.13), ((244, 248, 252), (226, 236, 248))),),
    "snow": (
        Clutter(pebbles, 12, (0.008, 0.03), ((206, 216, 232), (246, 250, 255))),
        Clutter(strokes, 9, (0.03, 0.1), ((150, 138, 128), (196, 206, 224)), -60.0, 60.0),
    ),
    "soil": (
        Clutter(pebbles, 26, (0.006, 0.03), ((124, 96, 76), (66, 46, 36), (140, 130, 118))),
        Clutter(strokes, 12, (0.03, 0.09), ((128, 104, 70), (60, 44, 34)), -45.0, 90.0),
    ),
    "stone": (
        Clutter(strokes, 12, (0.05, 0.18), ((104, 104, 108), (176, 176, 180)), -30.0, 90.0),
        Clutter(pebbles, 14, (0.006, 0.028), ((120, 120, 124), (172, 172, 174), (110, 128, 100))),
    ),
    "sunset": (
        Clutter(puffs, 16, (0.05, 0.13), ((252, 190, 150), (214, 130, 116), (240, 160, 120))),
    ),
    "water": (
        Clutter(strokes, 22, (0.03, 0.1), ((150, 200, 226), (34, 104, 160)), 0.0, 10.0),
        Clutter(pebbles, 8, (0.004, 0.01), ((190, 222, 238),)),
    ),
    "wood": (
        Clutter(pebbles, 7, (0.01, 0.03), ((140, 96, 56), (120, 80, 46))),
        Clutter(strokes, 14, (0.04, 0.14), ((150, 106, 64), (206, 160, 110)), 0.0, 8.0),
    ),
}


def scatter(canvas: np.ndarray, ground: str, rng: np.random.Generator) -> None:
    """Strew clutter on a ground, float32 (s, s, 3), in place: anything from none to a lot."""
    fullness = rng.uniform(0, 1) if rng.random() < 0.85 else 0.0
    for clutter in CLUTTER[ground]:
        count = round(clutter.most * fullness * rng.uniform(0.4, 1.0))
        if count:
            clutter.scatter(canvas, clutter, count, rng)

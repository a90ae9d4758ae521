"""What shapes are made of: filled polygons in the square [-1, 1] x [-1, 1], x right and y down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]  # RGB, 0 to 255

WOOD: Colour = (112, 74, 44)
DARK: Colour = (46, 40, 44)
GLASS: Colour = (196, 226, 240)
CREAM: Colour = (238, 226, 198)
ROOF: Colour = (122, 52, 46)
PALE: Colour = (250, 250, 250)
BEAK: Colour = (232, 150, 40)
GOLD: Colour = (206, 166, 76)


@dataclass(frozen=True)
class Part:
    """One polygon: ``points`` float64 (n, 2), x and y; ``colour`` RGB, or None to wear the look."""

    points: np.ndarray
    colour: Colour | None = None


def polygon(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=np.float64)


def ellipse(
    x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 2 * np.pi
) -> np.ndarray:
    angles = np.linspace(start, stop, 48)
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def band(path: np.ndarray, widths: np.ndarray | float) -> np.ndarray:
    """A strip along ``path`` float64 (n, 2), as wide as ``widths`` says at each of its points."""
    along = np.gradient(path, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    half = normal * np.broadcast_to(widths, len(path))[:, None] / 2
    return np.concatenate([path + half, (path - half)[::-1]])


def bow(
    start: tuple[float, float], middle: tuple[float, float], end: tuple[float, float]
) -> np.ndarray:
    """A quadratic curve from ``start`` to ``end`` pulled towards ``middle``, float64 (24, 2)."""
    t = np.linspace(0, 1, 24)[:, None]
    one, two, three = (np.array(point) for point in (start, middle, end))
    return (1 - t) ** 2 * one + 2 * t * (1 - t) * two + t**2 * three


def wheel(points: int, outer: float, inner: float, turn: float = -np.pi / 2) -> np.ndarray:
    """A ring of ``points`` tips at radius ``outer`` with notches at ``inner`` between them."""
    angles = turn + np.arange(2 * points) * np.pi / points
    radii = np.where(np.arange(2 * points) % 2 == 0, outer, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def eye(x: float, y: float, radius: float = 0.11) -> list[Part]:
    """A white eye that looks to the left."""
    return [
        Part(ellipse(x, y, radius, radius), PALE),
        Part(ellipse(x - 0.2 * radius, y, radius / 2, radius / 2), DARK),
    ]


def moved(parts: list[Part], scale: float, x: float, y: float) -> list[Part]:
    """The parts made smaller and put around (x, y)."""
    return [Part(part.points * scale + np.array([x, y]), part.colour) for part in parts]

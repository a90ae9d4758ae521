"""Shading and soft shadows: what makes a thing look as if it lay in its scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FLOATING = frozenset({"night", "sky", "sunset"})  # grounds that no shadow falls on
RIM = 0.11  # of a thing's side: how far from its edge it darkens


@dataclass(frozen=True)
class Light:
    """Where a scene's light comes from and how much it does; all of it of one random number."""

    direction: tuple[float, float]  # (x, y), length 1, from the light to the things
    slope: float  # grey levels from the bright edge of a thing to its dark one, halved
    rim: float  # grey levels that a thing loses at its edge
    shadow: float  # share of its brightness that the ground loses in a shadow, [0, 1]


def random_light(rng: np.random.Generator, ground: str) -> Light:
    angle = np.deg2rad(rng.uniform(35, 145))
    shadow = 0.0 if ground in FLOATING else float(rng.uniform(0.15, 0.5))
    return Light(
        (float(np.cos(angle)), float(np.sin(angle))),
        slope=float(rng.uniform(6, 26)),
        rim=float(rng.uniform(0, 34)),
        shadow=shadow,
    )


def cast_shadow(canvas: np.ndarray, mask: np.ndarray, side: float, light: Light) -> None:
    """Darken ``canvas`` float32 (h, w, 3) beside a thing of ``side`` px, its mask uint8 (h, w)."""
    if not light.shadow:
        return
    reach = 0.07 * side
    shift = np.array([[1, 0, reach * light.direction[0]], [0, 1, reach * light.direction[1]]])
    height, width = mask.shape
    soft = cv2.warpAffine(mask * np.uint8(255), shift, (width, height), flags=cv2.INTER_NEAREST)
    size = 2 * round(max(1.0, 0.04 * side)) + 1
    soft = cv2.blur(cv2.blur(soft, (size, size)), (size, size))
    canvas *= (1 - soft.astype(np.float32) * np.float32(light.shadow / 255))[..., None]


def shading(mask: np.ndarray, centre: tuple[float, float], side: float, light: Light) -> np.ndarray:
    """Grey levels to add to a thing of ``side`` px around ``centre``: float32 (h, w).

    Bright where the light comes from, dark on the other side and near the outline, so that it
    looks round.
    """
    height, width = mask.shape
    x = (np.arange(width, dtype=np.float32) - centre[0]) * (2 * light.direction[0] / side)
    y = (np.arange(height, dtype=np.float32) - centre[1]) * (2 * light.direction[1] / side)
    slope = np.float32(-light.slope) * (x[None, :] + y[:, None])
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    rim = np.clip(1 - depth / np.float32(RIM * side), 0, 1)
    return slope - np.float32(light.rim) * rim * rim

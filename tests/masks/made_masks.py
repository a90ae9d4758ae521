"""Small pictures with known masks for the tests of what makes masks."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 96
GROUND, RED, BLUE = (70, 120, 70), (210, 60, 50), (50, 70, 210)


def disc(x: int, y: int, radius: int = 16) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask > 0


def bar(x: int, y: int, width: int = 44, height: int = 10) -> np.ndarray:
    """A bar whose upper left corner is (x, y)."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def picture(*painted: tuple[np.ndarray, tuple[int, int, int]], seed: int = 0) -> np.ndarray:
    """Masks painted on a ground, with a little noise: uint8 (h, w, 3)."""
    image = np.full((SIDE, SIDE, 3), GROUND, np.float64)
    for mask, colour in painted:
        image[mask] = colour
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)

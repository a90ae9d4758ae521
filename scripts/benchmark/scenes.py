"""Plain scenes to segment, drawn from a number: a striped ellipse on a rough ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.support import SupportPair

GROUND, OBJECT, STRIPE = (60, 130, 70), (225, 120, 40), (245, 235, 220)
ROUGHNESS = 25  # grey levels
STRIPES = 8  # on the height of an image


def scene(number: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An image, uint8 (side, side, 3), and where its object is, bool (side, side)."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:side, :side] / side
    middle_row, middle_column = rng.uniform(0.35, 0.65, 2)
    half_height, half_width = rng.uniform(0.15, 0.3, 2)
    distance = ((rows - middle_row) / half_height) ** 2 + (
        (columns - middle_column) / half_width
    ) ** 2
    inside, striped = distance < 1, np.sin(2 * np.pi * STRIPES * rows) > 0
    image = np.where(
        (inside & striped)[..., None], STRIPE, np.where(inside[..., None], OBJECT, GROUND)
    )
    rough = image + rng.normal(0, ROUGHNESS, (side, side, 3))
    return rough.clip(0, 255).astype(np.uint8), inside


def scene_pair(number: int, side: int) -> SupportPair:
    """The same as a support pair."""
    image, inside = scene(number, side)
    return SupportPair(str(number), image, inside.astype(np.uint8))

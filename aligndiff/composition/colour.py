"""Colours of what is pasted, moved towards those of the scene (mean and spread in Lab)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8

_SPREAD = (0.5, 2.0)  # the contrast of a plain or a wild background is followed no further


def fit_colours(image: Uint8, there: NDArray[np.bool_], scene: Uint8, strength: float) -> Uint8:
    """Move the colours of an object towards a scene's, after Reinhard et al. 2001, in part.

    image: uint8 RGB (h, w, 3), whose object is `there`, bool (h, w); scene: uint8 RGB (a, b, 3);
    strength: 0 changes nothing, 1 gives it the scene's mean and spread. Sums are of whole numbers
    and the colours go through tables: every machine gives the same bytes.
    """
    if strength == 0 or not there.any() or not scene.size:
        return image
    own, around = _to_lab(image), _to_lab(scene)
    means, spreads = _statistics(own[there])
    goal_means, goal_spreads = _statistics(around.reshape(-1, 3))
    ratio = np.clip(goal_spreads / np.maximum(spreads, 1.0), *_SPREAD)
    gain = 1 + strength * (ratio - 1)
    levels = np.arange(256)[:, None]
    table = means + (levels - means) * gain + strength * (goal_means - means)
    fitted = cv2.LUT(own, np.round(table).clip(0, 255).astype(np.uint8)[None])
    return np.asarray(cv2.cvtColor(fitted, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def _to_lab(image: Uint8) -> Uint8:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), dtype=np.uint8)


def _statistics(pixels: Uint8) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel of uint8 (n, 3): float64 (3,)."""
    whole = pixels.astype(np.int64)
    means = whole.sum(axis=0) / len(whole)
    squares = (whole * whole).sum(axis=0) / len(whole)
    return means, np.sqrt(np.maximum(squares - means * means, 0.0))

"""Support masks degraded on purpose: what a coarse segmenter would say of an object it knows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CELLS = 32  # along the longer side: the grid of a network of stride 16 at 512 px


def coarse_map(mask: NDArray[np.bool_], cells: int = CELLS) -> NDArray[np.float32]:
    """A soft map, float32 (h, w) in [0, 1], of a mask, bool (h, w): averaged over cells, blurred,

    and enlarged again. Its edges are off by up to a cell, and parts thinner than one are faint.
    """
    h, w = mask.shape
    cell = max(h, w) / cells
    size = max(1, round(w / cell)), max(1, round(h / cell))
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (3, 3), 0.6)
    large = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.float32).clip(0, 1)

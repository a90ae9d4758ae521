"""Edges by GrabCut (Rother, Kolmogorov, Blake, 2004): colour models of object and background.

Where the map is sure it stays; between, a graph cut decides by the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.masks.edges.base import Edged, EdgeRefiner

ROUNDS = 3
# Below the first the map is surely background, above the second surely object.
SURE = ((0.25, 0.75), (0.15, 0.85), (0.05, 0.95))
SEED = 0  # of OpenCV's clustering of the colours


@dataclass(frozen=True)
class GrabCutEdges:
    """GrabCut between what the map is sure of."""

    background: float
    foreground: float

    def __call__(self, image: NDArray[np.uint8], probability: NDArray[np.float32]) -> Edged:
        labels = np.where(probability > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[probability > self.foreground] = cv2.GC_FGD
        labels[probability < self.background] = cv2.GC_BGD
        is_object = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        # Each colour model is a mixture of five, which as few pixels cannot fill.
        if min(np.count_nonzero(is_object), np.count_nonzero(~is_object)) < 50:
            return Edged(probability)
        inner, outer = np.zeros((1, 65)), np.zeros((1, 65))  # the colour models, filled in
        cv2.setRNGSeed(SEED)
        nowhere = (0, 0, 0, 0)  # the rectangle of another mode
        cv2.grabCut(image, labels, nowhere, outer, inner, ROUNDS, cv2.GC_INIT_WITH_MASK)
        cut = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        return Edged(_pulled(probability, cut))

    def __str__(self) -> str:
        return f"grabcut, sure below {self.background:g} and above {self.foreground:g}"


def _pulled(probability: NDArray[np.float32], cut: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The map pushed to the side of one half that the cut chose; how sure it was stays legible."""
    sure = np.maximum(np.abs(probability - 0.5), 1e-3)
    return np.where(cut, 0.5 + sure, 0.5 - sure).astype(np.float32)


def settings(model: str | None, device: str) -> Sequence[EdgeRefiner]:
    """Every pair of bounds; there is no model."""
    return [GrabCutEdges(*bounds) for bounds in SURE]

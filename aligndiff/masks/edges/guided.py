"""Edges by the guided filter: the map takes on the edges of the image's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligndiff.masks.edges.base import Edged, EdgeRefiner
from aligndiff.masks.guided import guided_filter

# Shares of the longer side. A wide window mends a coarse map and eats what is thin.
RADII = (0.008, 0.015, 0.03, 0.05, 0.08)
EPSILON = 1e-4


@dataclass(frozen=True)
class GuidedEdges:
    """The guided filter with windows of one radius, a share of the longer side."""

    radius: float

    def __call__(self, image: NDArray[np.uint8], probability: NDArray[np.float32]) -> Edged:
        return Edged(guided_filter(image, probability, self.radius, EPSILON).clip(0, 1))

    def __str__(self) -> str:
        return f"guided, radius {self.radius:g}"


def settings(model: str | None, device: str) -> Sequence[EdgeRefiner]:
    """Every radius; there is no model."""
    return [GuidedEdges(radius) for radius in RADII]

"""A region that may be two things that touch, cut where it is narrow."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.masks.regions import label_regions

Bool = NDArray[np.bool_]

HALF_WIDTH = 0.1  # of a neck at most, over the square root of the region's area
LEAST_CORE = 0.02  # of the region's area: what is left of a part without its rim


def parts_at_necks(region: Bool) -> list[Bool]:
    """The parts of a region, bool (h, w), that hang together by necks; itself where it has none.

    Without its rim it falls into cores, and every pixel goes with the core nearest to it.
    """
    area = int(np.count_nonzero(region))
    framed = cv2.copyMakeBorder(region.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 5)[1:-1, 1:-1]
    labels, areas = label_regions(depth > HALF_WIDTH * area**0.5)
    numbers = np.flatnonzero(areas >= LEAST_CORE * area) + 1
    if len(numbers) < 2:
        return [region]
    cores = np.isin(labels, numbers)
    _, nearest = cv2.distanceTransformWithLabels(
        (~cores).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    return [region & (nearest == nearest[labels == number][0]) for number in numbers]

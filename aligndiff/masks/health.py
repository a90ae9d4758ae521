"""What looks wrong with a mask, whatever it is of."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aligndiff.masks.regions import label_regions, least_area

Bool = NDArray[np.bool_]
Ailment = Literal["empty", "full", "holes", "specks", "touches all borders", "several parts"]
FULL = 0.98  # of the image: an object that leaves no background to learn from
PART = 0.1  # of the largest region: what is as large is a part of its own


def ailments(mask: Bool) -> tuple[Ailment, ...]:
    """What is odd about a mask, bool (h, w); nothing for one plain region.

    A hole, a speck and a part are regions of at least `SMALLEST_REGION` of the image, or smaller,
    or at least `PART` of the largest one, in this order.
    """
    if not mask.any():
        return ("empty",)
    if mask.mean() >= FULL:
        return ("full",)
    _, areas = label_regions(mask)
    least = least_area(mask)
    odd: list[Ailment] = []
    if _holes(mask, least):
        odd.append("holes")
    if (areas < least).any() and len(areas) > 1:
        odd.append("specks")
    if mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any():
        odd.append("touches all borders")
    if np.count_nonzero(areas >= max(least, PART * areas.max())) > 1:
        odd.append("several parts")
    return tuple(odd)


def _holes(mask: Bool, least: int) -> bool:
    """Whether some background, of this many pixels, is enclosed by the mask."""
    outside = np.pad(~mask, 1, constant_values=True)  # one region around all of the image
    _, areas = label_regions(outside, connectivity=4)
    return bool((np.sort(areas)[:-1] >= least).any())

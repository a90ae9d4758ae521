"""An object cut out of its photo, with what the photo tells of its size and place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import OBJECT, Uint8

_SPECK = 0.02  # of the object's area; smaller pieces of a mask are no part of it
_CUT = 0.2  # of a side of the object's box that lies on the photo's edge: the rest is outside


class Spot(NamedTuple):
    """A place in an image, in parts of its height and width; (0, 0) is the upper left corner."""

    row: float
    column: float


class Sides(NamedTuple):
    """What is true of each side of an object's box."""

    top: bool = False
    left: bool = False
    bottom: bool = False
    right: bool = False

    def flipped(self) -> Sides:
        """The same after left and right have changed places."""
        return Sides(self.top, self.right, self.bottom, self.left)


@dataclass(frozen=True)
class Extent:
    """How large an object is in its photo, and where.

    Attributes:
        scale: the longer side of the object's box, in parts of the photo's shorter side.
        foot: the middle of the box's lower side: where most things stand.
    """

    scale: float
    foot: Spot


@dataclass(frozen=True)
class Instance:
    """An object, cut to its box.

    Attributes:
        image: uint8 RGB (h, w, 3).
        mask: uint8 (h, w): 1 the object, 0 and 255 (ignore) what is not pasted.
        extent: its size and place in the photo that it comes from.
        cut: the sides at which that photo ends within the object. It is pasted with these sides
            at the edge of the scene, or it would be seen to be cut.
    """

    image: Uint8
    mask: Uint8
    extent: Extent
    cut: Sides = Sides()


def cut_out(image: Uint8, mask: Uint8) -> Instance:
    """The object of a photo, uint8 RGB (h, w, 3), by its mask, uint8 (h, w) of 0, 1, 255.

    Specks of the mask are left out. InputError where there is no object.
    """
    there = _without_specks(mask == OBJECT)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not rows.size:
        raise InputError("the mask has no object; draw it anew")
    top, bottom, left, right = map(int, (rows[0], rows[-1], columns[0], columns[-1]))
    box = slice(top, bottom + 1), slice(left, right + 1)
    height, width = mask.shape
    size = bottom + 1 - top, right + 1 - left
    extent = Extent(
        scale=max(size) / min(height, width),
        foot=Spot((bottom + 1) / height, (left + right + 1) / 2 / width),
    )
    cut = Sides(
        top=_share(there[0]) * width > _CUT * size[1],
        left=_share(there[:, 0]) * height > _CUT * size[0],
        bottom=_share(there[-1]) * width > _CUT * size[1],
        right=_share(there[:, -1]) * height > _CUT * size[0],
    )
    return Instance(image[box].copy(), there[box].astype(np.uint8), extent, cut)


def _without_specks(there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces, bool (h, w), that are large enough to be a part of the object."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(there.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # what is no object
    kept: NDArray[np.bool_] = (areas >= _SPECK * areas.sum()) & (areas > 0)
    return np.asarray(kept[pieces], dtype=np.bool_) if count > 1 else there


def _share(line: NDArray[np.bool_]) -> float:
    return float(line.mean())

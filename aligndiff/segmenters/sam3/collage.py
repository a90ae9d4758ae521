"""Support and query on one square picture, as in FSS-SAM3 (2026, arXiv 2604.05433).

SAM 3 looks for what its exemplar boxes show in the picture that they lie in: so the support pairs
lie in the query's picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import resize_image
from aligndiff.segmenters.prompts import PromptPair

Uint8 = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # left, top, right, bottom

PAIRS_AT_MOST = 5
ONE_SHARE = 0.6  # of the height: a lone support image, above the query
SEVERAL_SHARE = 0.33  # of the side: the strips of several, above and left of the query
ABOVE = 3  # of several as many lie above, the rest on the left


@dataclass(frozen=True)
class Pane:
    """A rectangle of the picture, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def within(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        rows = slice(self.top, self.top + self.height)
        return rows, slice(self.left, self.left + self.width)

    def moved(self, box: Box, size: tuple[int, int]) -> Box:
        """A box of an image of (h, w) in the picture, where the image fills the pane."""
        h, w = size
        across, down = self.width / w, self.height / h
        left, top, right, bottom = box
        return (
            self.left + left * across,
            self.top + top * down,
            self.left + right * across,
            self.top + bottom * down,
        )


@dataclass(frozen=True)
class Collage:
    """What SAM 3 is asked with: uint8 (side, side, 3), the boxes, and where the query lies."""

    image: Uint8
    boxes: tuple[Box, ...]
    query: Pane


def panes(pairs: int, side: int) -> tuple[list[Pane], Pane]:
    """Where the support images lie, and the query. Of two to five pairs, unused panes are left."""
    if pairs == 1:
        above = int(side * ONE_SHARE)
        return [Pane(0, 0, side, above)], Pane(0, above, side, side - above)
    strip = round(side * SEVERAL_SHARE)
    rest, column = side - strip, side // ABOVE
    upper = [Pane(at * column, 0, column, strip) for at in range(ABOVE - 1)]
    upper.append(Pane((ABOVE - 1) * column, 0, side - (ABOVE - 1) * column, strip))
    half = rest // 2
    left = [Pane(0, strip, strip, half), Pane(0, strip + half, strip, rest - half)]
    return [*upper, *left][:pairs], Pane(strip, strip, rest, rest)


def box_of(mask: Uint8) -> Box:
    """The box of a mask, uint8 (h, w) with some pixel that is not 0."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def compose(pairs: Sequence[PromptPair], query: Uint8, side: int) -> Collage:
    """The picture of some pairs and a query, uint8 (h, w, 3), each squeezed into its pane.

    A pair without an object has no box.
    """
    image = np.zeros((side, side, 3), np.uint8)
    spots, own = panes(len(pairs), side)
    boxes = []
    for pair, spot in zip(pairs, spots, strict=True):
        image[spot.within] = resize_image(pair.image, (spot.height, spot.width))
        if pair.mask.any():
            boxes.append(spot.moved(box_of(pair.mask), pair.mask.shape[:2]))
    image[own.within] = resize_image(query, (own.height, own.width))
    return Collage(image, tuple(boxes), own)

"""Masks as polygons that say the same when they are drawn again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8

Points = NDArray[np.int64]  # (n, 2) of x, y: pixels of the object, in the order of its outline


def polygons_of(mask: Uint8) -> list[Points]:
    """One closed polygon for each connected part of a mask, uint8 (h, w) of 0 and 1.

    A polygon runs through the outermost pixels of its part. A hole is joined to the outline by a
    cut through the object, there and back, so that one line surrounds both. Filled with its own
    line, as cv2.fillPoly does, it gives the part again, pixel by pixel.
    """
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return []
    points = [contour[:, 0].astype(np.int64) for contour in contours]
    holes: dict[int, list[Points]] = {}
    parents = [int(parent) for _, _, _, parent in hierarchy[0]]
    for hole, parent in zip(points, parents, strict=True):
        holes.setdefault(parent, []).append(hole)
    return [
        _without_needless(_join(mask, points[number], holes.get(number, [])))
        for number, parent in enumerate(parents)
        if parent == -1
    ]


def _join(mask: Uint8, outline: Points, holes: list[Points]) -> Points:
    """The outline with all holes cut open to it.

    A cut goes left from a hole's leftmost pixel, through the object alone, to the next border. That
    is the outline's, or a hole's that begins further left: joined already, in this order.
    """
    for hole in sorted(holes, key=lambda hole: int(hole[:, 0].min())):
        start = int(hole[:, 0].argmin())
        x, y = hole[start]
        gaps = np.flatnonzero(mask[y, :x] == 0)
        end = (gaps[-1] + 1 if len(gaps) else 0, y)
        at = int(np.argmax((outline == end).all(axis=1)))
        around = np.concatenate([hole[start:], hole[: start + 1]])
        outline = np.concatenate([outline[: at + 1], around, outline[at:]])
    return outline


def _without_needless(outline: Points) -> Points:
    """The outline without points in the middle of a straight run; at least three are left."""
    before, after = outline - np.roll(outline, 1, axis=0), np.roll(outline, -1, axis=0) - outline
    kept = outline[(before != after).any(axis=1)]
    kept = kept if len(kept) else outline[:1]
    # A single pixel or a line of pixels has fewer corners than a polygon must have.
    return np.concatenate([kept, np.repeat(kept[-1:], max(0, 3 - len(kept)), axis=0)])

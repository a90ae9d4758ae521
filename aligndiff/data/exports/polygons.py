"""Masks as polygons that say the same when they are drawn again."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.data.images import Uint8

Points = NDArray[np.int64]  # (n, 2) of x, y: pixels of the object, in the order of its outline


def polygons_of(mask: Uint8) -> list[Points]:
    """One closed polygon for each connected part of a mask, uint8 (h, w) of 0 and 1.

    A polygon runs through the outermost pixels of its part. A hole is joined to the outline by a
    cut along their shortest distance, there and back, so that one line surrounds both. Filled with
    its own line, as cv2.fillPoly does, it gives the part again, but for what a cut may take of a
    hole that it passes.
    """
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return []
    points = [contour[:, 0].astype(np.int64) for contour in contours]
    holes: dict[int, list[Points]] = {}
    for number, (_, _, _, parent) in enumerate(hierarchy[0]):
        holes.setdefault(int(parent), []).append(points[number])
    return [
        _without_needless(_join(points[number], holes.get(number, [])))
        for number, (_, _, _, parent) in enumerate(hierarchy[0])
        if parent == -1
    ]


def _join(outline: Points, holes: list[Points]) -> Points:
    """The outline with all holes cut open to it, the nearest hole first.

    In that order no cut can cross a hole that is still to come: it would have been nearer.
    """
    waiting = [(hole, *_nearest(outline, hole)) for hole in holes]
    while waiting:
        waiting.sort(key=lambda found: found[2], reverse=True)
        hole, (here, there), _ = waiting.pop()
        at = int(np.argmax((outline == here).all(axis=1)))
        start = int(np.argmax((hole == there).all(axis=1)))
        around = np.concatenate([hole[start:], hole[: start + 1]])
        outline = np.concatenate([outline[: at + 1], around, outline[at:]])
        waiting = [
            (other, *min((pair, distance), _nearest(hole, other), key=lambda found: found[1]))
            for other, pair, distance in waiting
        ]
    return outline


def _nearest(first: Points, second: Points) -> tuple[tuple[Points, Points], int]:
    """The nearest two points of two outlines, and the square of their distance."""
    squares = ((first[:, None] - second[None]) ** 2).sum(axis=2)
    here, there = np.unravel_index(int(squares.argmin()), squares.shape)
    return (first[here], second[there]), int(squares[here, there])


def _without_needless(outline: Points) -> Points:
    """The outline without points in the middle of a straight run; at least three are left."""
    before, after = outline - np.roll(outline, 1, axis=0), np.roll(outline, -1, axis=0) - outline
    kept = outline[(before != after).any(axis=1)]
    kept = kept if len(kept) else outline[:1]
    # A single pixel or a line of pixels has fewer corners than a polygon must have.
    return np.concatenate([kept, np.repeat(kept[-1:], max(0, 3 - len(kept)), axis=0)])

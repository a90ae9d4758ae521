"""What annotation files hold of an object: polygons, runs, bitmaps, mask files; drawn as a mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT, Uint8

Points = NDArray[np.float64]  # (n, 2) of x, y in pixels
Size = tuple[int, int]  # (h, w)

_MOST_POINTS = 100_000  # of one polygon; outlines of 12 megapixel masks have a tenth
_CIRCLE = 90  # corners


class Shape(Protocol):
    """Something that can be drawn on a photo of a size."""

    def draw(self, size: Size) -> Uint8:
        """uint8 (h, w): 0 background, 1 object, 255 ignore. InputError says what is wrong."""
        ...


@dataclass(frozen=True)
class Polygon:
    """An area within closed lines.

    Attributes:
        rings: each (n, 2) of x, y; what lies within an even number of them is a hole.
        on_line: pixels that the line runs through belong to the area, as in tools that number
            pixels; else a pixel belongs to it when its middle lies inside, as in tools that
            measure from the photo's corner.
        relative: the points are parts of width and height.
    """

    rings: tuple[Points, ...]
    on_line: bool = False
    relative: bool = False

    def draw(self, size: Size) -> Uint8:
        rings = [self._in_pixels(ring, size) for ring in self.rings]
        return _fill_on_line(rings, size) if self.on_line else _fill_inside(rings, size)

    def _in_pixels(self, ring: Points, size: Size) -> Points:
        height, width = size
        if len(ring) > _MOST_POINTS:
            raise InputError(f"a polygon has {len(ring)} points, {_MOST_POINTS} at most")
        if not np.isfinite(ring).all():
            raise InputError("a polygon has a point that is no finite number")
        points = ring * [width, height] if self.relative else ring
        limits = np.array([width, height])
        beyond = (points < -limits) | (points > 2 * limits)
        if beyond.any():
            worst = points[beyond.any(axis=1)][0]
            place = f"x {worst[0]:g}, y {worst[1]:g}"
            raise InputError(f"a polygon reaches {place} in a photo of {width} x {height} px")
        return points


@dataclass(frozen=True)
class Bitmap:
    """A small mask that lies somewhere in the photo.

    Attributes:
        decode: makes the mask, bool (h, w); called when it is drawn.
        corner: (row, column) of its upper left pixel.
    """

    decode: Callable[[], NDArray[np.bool_]]
    corner: tuple[int, int] = (0, 0)

    def draw(self, size: Size) -> Uint8:
        bits = self.decode()
        top, left = self.corner
        bottom, right = top + bits.shape[0], left + bits.shape[1]
        if top < 0 or left < 0 or bottom > size[0] or right > size[1]:
            spot = f"x {left} to {right}, y {top} to {bottom}"
            raise InputError(f"a mask at {spot} in a photo of {size[1]} x {size[0]} px")
        mask = np.zeros(size, dtype=np.uint8)
        mask[top:bottom, left:right] = bits
        return mask


@dataclass(frozen=True)
class MaskFile:
    """A picture of its own that is the mask: `read` gives uint8 (h, w) of 0, 1 and 255."""

    read: Callable[[], Uint8]

    def draw(self, size: Size) -> Uint8:
        mask = self.read()
        if mask.shape != size:
            what = f"the mask is {mask.shape[1]} x {mask.shape[0]} px"
            raise InputError(f"{what}, the photo {size[1]} x {size[0]}{_turned(mask.shape, size)}")
        return mask


def draw_mask(shapes: Sequence[Shape], ignored: Sequence[Shape], size: Size) -> Uint8:
    """The union of the shapes, uint8 (h, w): 0 background, 1 object, 255 ignore.

    What one shape calls object stays object, whatever the others ignore there.
    """
    mask = np.zeros(size, dtype=np.uint8)
    for shape in shapes:
        drawn = shape.draw(size)
        mask[(drawn == IGNORE) & (mask == BACKGROUND)] = IGNORE
        mask[drawn == OBJECT] = OBJECT
    for shape in ignored:
        mask[(shape.draw(size) != BACKGROUND) & (mask == BACKGROUND)] = IGNORE
    return mask


def check_size(annotated: Size | None, size: Size) -> None:
    """Raise InputError when a photo has another size than when it was annotated."""
    if annotated is not None and annotated != size:
        what = f"was annotated at {annotated[1]} x {annotated[0]} px and is {size[1]} x {size[0]}"
        raise InputError(f"{what}{_turned(annotated, size)}; take the photo that was annotated")


def points_of(raw: object) -> Points:
    """(n, 2) of x, y from a list of pairs or a flat list; InputError when it is no such list."""
    try:
        points = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("a polygon is no list of numbers") from None
    if points.ndim == 1 and points.size % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise InputError("a polygon has no list of three or more points x, y")
    return points


def circle(centre: tuple[float, float], radii: tuple[float, float]) -> Points:
    """The outline of an ellipse with its axes along x and y, as a polygon's points."""
    angles = np.linspace(0, 2 * np.pi, _CIRCLE, endpoint=False)
    return np.column_stack([np.cos(angles), np.sin(angles)]) * radii + centre


def _fill_inside(rings: Sequence[Points], size: Size) -> Uint8:
    """Pixels whose middle lies within an odd number of rings, uint8 (h, w) of 0 and 1.

    Each edge toggles, in every row whose middle it crosses, all pixels to its right.
    """
    height, width = size
    toggled = np.zeros((height, width + 1), dtype=bool)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            first, last = np.clip(np.ceil(np.sort([y0, y1]) - 0.5), 0, height).astype(int)
            if first == last:
                continue
            rows = np.arange(first, last)
            crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)
            toggled[rows, columns] ^= True
    return np.logical_xor.accumulate(toggled, axis=1)[:, :width].astype(np.uint8)


def _fill_on_line(rings: Sequence[Points], size: Size) -> Uint8:
    """Pixels within the rings and under their lines, uint8 (h, w) of 0 and 1."""
    mask = np.zeros(size, dtype=np.uint8)
    cv2.fillPoly(mask, [np.floor(ring).astype(np.int32) for ring in rings], OBJECT)
    return mask


def _turned(one: tuple[int, ...], other: tuple[int, ...]) -> str:
    """A hint where width and height are exchanged."""
    return " (is one of them turned by its EXIF orientation?)" if one == other[::-1] else ""

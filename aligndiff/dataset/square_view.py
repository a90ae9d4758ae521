"""The square that step 1 trains on: cut from the photo around the object, nothing squeezed."""

from __future__ import annotations

import numpy as np

from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT, Uint8
from aligndiff.dataset.support import SupportPair

_MARGIN = 0.1  # of the object's longer side, kept free around an object longer than the photo


def square_view(pair: SupportPair) -> SupportPair:
    """The largest square of the photo that lies around the object; square photos stay as they are.

    An object longer than the photo's shorter side is kept whole: the square is as large as it is,
    and what lies beyond the photo repeats its border in the image and is ignored in the mask.
    """
    height, width = pair.mask.shape
    if height == width:
        return pair
    top, bottom = _extent((pair.mask == OBJECT).any(axis=1))
    left, right = _extent((pair.mask == OBJECT).any(axis=0))
    longest = max(bottom - top, right - left)
    side = min(height, width)
    if longest > side:
        side = min(max(height, width), round(longest * (1 + 2 * _MARGIN)))
    rows = _span(top, bottom, side, height)
    view = window(pair, rows, _span(left, right, side, width))
    # Nothing but the object around it: the whole photo then.
    return view if (view.mask == BACKGROUND).any() else pair


def window(pair: SupportPair, rows: np.ndarray, columns: np.ndarray) -> SupportPair:
    """Some rows and columns of a pair, whole numbers in order.

    Those outside of it repeat the border in the image and are ignored in the mask.
    """
    height, width = pair.mask.shape
    mask = _cut(pair.mask, rows, columns)
    mask[_outside(rows, height)] = IGNORE
    mask[:, _outside(columns, width)] = IGNORE
    return SupportPair(pair.name, _cut(pair.image, rows, columns), mask)


def _extent(there: np.ndarray) -> tuple[int, int]:
    """First and last + 1 of the true values; the whole range where there is none."""
    places = np.flatnonzero(there)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, len(there))


def _span(start: int, stop: int, side: int, length: int) -> np.ndarray:
    """`side` places around the middle of [start, stop), inside 0 to `length` as far as they fit."""
    first = (start + stop - side) // 2
    if side <= length:
        first = min(max(first, 0), length - side)
    else:
        first = (length - side) // 2
    return np.arange(first, first + side)


def _cut(array: Uint8, rows: np.ndarray, columns: np.ndarray) -> Uint8:
    """Rows and columns of (h, w, ...); places outside repeat the border."""
    height, width = array.shape[:2]
    return array[np.clip(rows, 0, height - 1)][:, np.clip(columns, 0, width - 1)]


def _outside(places: np.ndarray, length: int) -> np.ndarray:
    return (places < 0) | (places >= length)

"""The levels of a mask file: its distinct values, and which of them are areas rather than edges.

A mask is made of areas of one value each, joined by edges that may be soft, and noisy after JPEG.
A level is an *area* where a good part of its pixels have only neighbours of its own value. Soft
edges and JPEG's ringing have values without areas; a photo has next to nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.raster import Raster, pack_colours, unpack_colours

Values = NDArray[np.integer[Any]]  # (h, w), as small a type as holds them

_MOST_EXACT = 64  # distinct values of a label map; more are soft edges, noise or a photo
_MOST_CENTRES = 64
_TINT = 24  # difference between channels that JPEG alone does not make
_COLOURED = 0.001  # share of the pixels that must have a colour
_NOISE = 4  # what JPEG changes inside an area, in a channel
_RINGING = 10  # what it changes beside an edge, at least
_NEAR = 12  # difference of a channel up to which colours of areas are one after JPEG
_FIT = 6  # the same up to which a pixel has the colour of its level
_FAR = 40  # the same from which on it is a mixture of levels
_BEYOND = 32  # grey levels outside the areas' own, which no mixture of areas has
_AREA = 0.3  # share of a level's pixels inside areas, from which on it is one
_SMALLEST = 0.0005  # of all pixels inside areas: a colour of fewer is no level after JPEG
_NEIGHBOURS = np.ones((3, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Levels:
    """The n levels of a file, darkest first.

    Attributes:
        codes: whole numbers (h, w), the level of each pixel.
        numbers: int32 (n,), class numbers: grey levels or palette indices; -1 for colours.
        colours: int32 (n, 3), RGB of each level, for grey three times the level (8 or 16 bits).
        counts: int64 (n,), pixels of each level.
        areas: the levels that fill areas, ascending.
        grey: whether no level has a colour.
        exact: whether the levels are the values of the file; else they are centres of its values,
            and each pixel has the level nearest to its own value.
        own: whole numbers (h, w), each pixel's own value, as a place in `own_greys`.
        own_greys: int32 (k,), the brightest channels of the values of the file.
        flat: share of the pixels, 0 to 1, whose neighbours have all the same value, to 1 of 255:
            half and more of a mask, next to none of a photo.
        fit: share of the pixels, 0 to 1, that have the value of their level.
        mixed: bool (h, w), where a pixel's value is far from its level's; None where `exact`.
    """

    codes: Values
    numbers: NDArray[np.int32]
    colours: NDArray[np.int32]
    counts: NDArray[np.int64]
    areas: tuple[int, ...]
    grey: bool
    exact: bool
    own: Values
    own_greys: NDArray[np.int32]
    flat: float
    fit: float = 1.0
    mixed: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def greys(self) -> NDArray[np.int32]:
        """The brightest channel of each level, int32 (n,)."""
        return self.colours.max(axis=1)

    def where(self, levels: list[int]) -> NDArray[np.bool_]:
        """The pixels of these levels, bool (h, w)."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[levels] = True
        return _mapped(chosen, self.codes)

    def brighter(self, grey: float) -> NDArray[np.bool_]:
        """The pixels whose own brightest channel is above `grey`, bool (h, w)."""
        return _mapped(self.own_greys > grey, self.own)


def levels_of(raster: Raster) -> Levels:
    """The levels of a file. Its transparency plays no part."""
    values, codes = _distinct(raster.values)
    numbers = np.full(len(values), -1, dtype=np.int32) if raster.kind == "colour" else values
    colours = _colours(raster, values)
    counts = _counted(codes, len(values))
    grey = _is_grey(colours, counts)
    if grey:  # slight tints, or a palette of greys
        colours = np.repeat(colours.max(axis=1, keepdims=True), 3, axis=1)
        if raster.kind == "colour":
            values, codes, counts = _merged(colours[:, 0], codes)
            numbers, colours = values, np.repeat(values[:, None], 3, axis=1)
    order = _from_dark_to_bright(numbers, colours)
    numbers, colours, counts = numbers[order], colours[order], counts[order]
    places = np.empty(len(order), dtype=np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    codes = _mapped(_small(places), codes)
    # Two values are two areas, whatever their shapes.
    inside = _inside(codes, len(counts)) if len(counts) > 2 else counts
    areas = inside >= _AREA * counts
    if len(counts) <= 2 or not _is_noisy(raster, colours, counts, areas, grey):
        listed = tuple(int(at) for at in np.flatnonzero(areas))
        flat = float(inside.sum() / codes.size)
        greys = colours.max(axis=1)
        return Levels(codes, numbers, colours, counts, listed, grey, True, codes, greys, flat)
    return _centred(codes, colours, grey)


def _from_dark_to_bright(
    numbers: NDArray[np.int32], colours: NDArray[np.int32]
) -> NDArray[np.int64]:
    """The order by the brightest channel, then the sum of the channels, then the number."""
    red, green, blue = _channels(colours)
    brightest, total = np.maximum(np.maximum(red, green), blue), red + green + blue
    if brightest.max(initial=0) > 255 or numbers.max(initial=-1) >= 0:
        return np.lexsort((numbers, total, brightest))
    return np.argsort((brightest << 10) | total, kind="stable")  # one key: a photo has many colours


def _distinct(values: Values) -> tuple[NDArray[np.int32], Values]:
    """The distinct values, ascending, and for each pixel which one it is."""
    largest = int(values.max(initial=0))
    if values.size < largest:  # a table of all colours would take longer than sorting
        sorted_values, codes = np.unique(values, return_inverse=True)
        return sorted_values.astype(np.int32), _small(codes).reshape(values.shape)
    if values.dtype == np.uint8:
        seen = _counted(values, 256) > 0
    else:
        seen = np.zeros(largest + 1, dtype=bool)
        seen[values.ravel()] = True
    distinct = np.flatnonzero(seen).astype(np.int32)
    places = np.zeros(len(seen), dtype="uint8" if len(distinct) <= 256 else "int32")
    places[distinct] = np.arange(len(distinct))
    return distinct, _mapped(places, values)


def _small(table: NDArray[Any]) -> Values:
    """Whole numbers in the smallest type that holds them."""
    for kind in (np.uint8, np.uint16):
        if table.max(initial=0) <= np.iinfo(kind).max:
            return np.maximum(table, 0).astype(kind)
    return table.astype(np.int32)


def _mapped(table: NDArray[Any], codes: Values) -> NDArray[Any]:
    """`table[codes]`; of 12 million bytes a tenth of the time."""
    if codes.dtype != np.uint8 or table.dtype not in (np.uint8, np.bool_):
        return table[codes]
    whole = np.zeros(256, dtype=np.uint8)
    whole[: len(table)] = table[:256]
    mapped = cv2.LUT(np.ascontiguousarray(codes), whole).reshape(codes.shape)
    return np.asarray(mapped).view(table.dtype)


def _counted(codes: Values, count: int) -> NDArray[np.int64]:
    """How often each of `count` codes is there, int64 (count,); a band at a time, for memory."""
    bands = np.array_split(codes, max(1, len(codes) // 256))
    counts = [np.bincount(band.ravel(), minlength=count) for band in bands]
    return np.sum(counts, axis=0, dtype=np.int64)


def _merged(
    values: NDArray[np.int32], codes: Values
) -> tuple[NDArray[np.int32], Values, NDArray[np.int64]]:
    """Levels of one value made one: the values, the codes and their counts."""
    distinct, places = np.unique(values, return_inverse=True)
    codes = _mapped(_small(places), codes)
    return distinct.astype(np.int32), codes, _counted(codes, len(distinct))


def _colours(raster: Raster, values: NDArray[np.int32]) -> NDArray[np.int32]:
    """RGB of each value, int32 (n, 3). A palette that tells nothing gives way to its indices."""
    if raster.kind == "colour":
        return unpack_colours(values).astype(np.int32)
    if raster.kind == "palette" and raster.palette is not None:
        colours = raster.palette[values].astype(np.int32)
        if len(values) == 1 or len(np.unique(pack_colours(raster.palette[values]))) > 1:
            return colours
    return np.repeat(values[:, None], 3, axis=1)


def _is_grey(colours: NDArray[np.int32], counts: NDArray[np.int64]) -> bool:
    red, green, blue = _channels(colours)
    brightest = np.maximum(np.maximum(red, green), blue)
    tinted = brightest - np.minimum(np.minimum(red, green), blue) > _TINT
    return bool(counts[tinted].sum() <= _COLOURED * counts.sum())


def _inside(codes: Values, count: int) -> NDArray[np.int64]:
    """For each level, how many of its pixels have only neighbours of the same, int64 (n,)."""
    height, width = codes.shape
    if min(height, width) < 3:
        return _counted(codes, count)
    same = np.ones((height, width), dtype=bool)
    same[:, 1:] &= codes[:, 1:] == codes[:, :-1]
    same[1:] &= codes[1:] == codes[:-1]
    same[1:, 1:] &= codes[1:, 1:] == codes[:-1, :-1]
    same[1:, :-1] &= codes[1:, :-1] == codes[:-1, 1:]
    same[:, :-1] &= codes[:, 1:] == codes[:, :-1]
    same[:-1] &= codes[1:] == codes[:-1]
    same[:-1, :-1] &= codes[1:, 1:] == codes[:-1, :-1]
    same[:-1, 1:] &= codes[1:, :-1] == codes[:-1, 1:]
    return np.bincount(codes[same], minlength=count)


def _is_noisy(
    raster: Raster,
    colours: NDArray[np.int32],
    counts: NDArray[np.int64],
    areas: NDArray[np.bool_],
    grey: bool,
) -> bool:
    """Whether values near each other mean the same: after JPEG, also when saved again as PNG."""
    if raster.lossy:
        return True
    if not grey:
        return len(counts) > _MOST_EXACT and areas.mean() < 0.5
    values = colours[:, 0]
    if len(values) <= 8 or values[-1] > 255:
        return False
    low = ((values > values[0]) & (values <= values[0] + _RINGING)).any()
    high = ((values < values[-1]) & (values >= values[-1] - _RINGING)).any()
    # Numbers that run through from 0 to 255 are areas, ringing is not.
    return bool(low and high and areas.mean() < 0.5)


def _centred(
    codes: Values,
    colours: NDArray[np.int32],
    grey: bool,
) -> Levels:
    """Levels after noise: the commonest colours inside areas, and each pixel at its nearest."""
    if colours.max() > 255:  # 16 bits in a lossy format: JPEG 2000
        colours = colours // 257
    rgb = colours.astype(np.uint8)[codes]
    spread = cv2.dilate(rgb, _NEIGHBOURS) - cv2.erode(rgb, _NEIGHBOURS)
    spread = spread.max(axis=2)
    calm, flat = spread <= _NOISE, float((spread <= 1).mean())
    weights = np.bincount(codes[calm], minlength=len(colours))
    centres = _centres(colours, weights)
    every = _counted(codes, len(colours))
    if grey:  # what is outside the areas' range is no mixture of them: a thin rim, the other end
        centres = sorted({*centres, *_ends_beyond(colours[:, 0], every, centres)})
    if not centres:
        centres = [0, len(colours) - 1]
    chosen = colours[sorted(centres)]
    nearest, deviation = _nearest(colours, chosen)
    fit = float(every[deviation <= _FIT].sum() / every.sum())
    mixed = _mapped(deviation > _FAR, codes)
    own, codes = codes, _mapped(_small(nearest), codes)
    counts = _counted(codes, len(chosen))
    numbers = (chosen[:, 0] if grey else np.full(len(chosen), -1)).astype(np.int32)
    areas = tuple(range(len(chosen)))
    greys = colours.max(axis=1)
    return Levels(codes, numbers, chosen, counts, areas, grey, False, own, greys, flat, fit, mixed)


def _ends_beyond(
    values: NDArray[np.int32], counts: NDArray[np.int64], centres: list[int]
) -> list[int]:
    """The darkest and the brightest of ascending grey values, where they are far from any area."""
    if not centres:
        return []
    least = max(1, int(_SMALLEST * counts.sum()))
    low, high = values[min(centres)], values[max(centres)]
    ends = []
    if counts[values < low - _BEYOND].sum() >= least:
        ends.append(0)
    if counts[values > high + _BEYOND].sum() >= least:
        ends.append(len(values) - 1)
    return ends


def _nearest(
    colours: NDArray[np.int32], centres: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For each colour the nearest centre and the largest difference of a channel from it."""
    channels = _channels(colours)
    nearest = np.zeros(len(colours), dtype=np.int32)
    best = np.full(len(colours), np.iinfo(np.int32).max, dtype=np.int32)
    for at, centre in enumerate(centres):
        distance = np.zeros(len(colours), dtype=np.int32)
        for channel, level in zip(channels, centre, strict=True):
            distance += (channel - level) ** 2
        nearest[distance < best] = at
        np.minimum(distance, best, out=best)
    return nearest, _difference(channels, _channels(centres[nearest]))


def _centres(colours: NDArray[np.int32], weights: NDArray[np.int64]) -> list[int]:
    """The commonest colours inside areas that are not near a commoner one."""
    channels = _channels(colours)
    left = weights.copy()
    least = max(1, int(_SMALLEST * weights.sum()))
    centres: list[int] = []
    while len(centres) <= _MOST_CENTRES and (left > 0).any():
        at = int(left.argmax())
        near = _difference(channels, [channel[at] for channel in channels]) <= _NEAR
        if left[near].sum() >= least:
            centres.append(at)
        left[near] = 0
    return centres


def _channels(colours: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Red, green and blue, each int32 (n,): many times faster than sums along an axis of three."""
    return [np.ascontiguousarray(channel) for channel in colours.T]


def _difference(channels: Sequence[Any], others: Sequence[Any]) -> NDArray[np.int32]:
    """The largest difference of a channel, int32 (n,)."""
    red, green, blue = (np.abs(a - b) for a, b in zip(channels, others, strict=True))
    return np.maximum(np.maximum(red, green), blue)

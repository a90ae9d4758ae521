"""The levels of a mask file: its distinct values, and which of them are areas rather than edges.

A mask is made of areas of one value each, joined by edges that may be soft, and noisy after JPEG.
A level is *solid* where it fills areas: a good part of its pixels have only neighbours of the same
value. Soft edges and JPEG's ringing have values without areas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.raster import Raster, unpack_colours

_MOST_EXACT = 64  # distinct values of a label map; more are soft edges, noise or a photo
_MOST_CENTRES = 64
_TINT = 24  # difference between channels that JPEG alone does not make
_COLOURED = 0.001  # share of the pixels that must have a colour
_NOISE = 4  # what JPEG changes within an area
_RINGING = 10  # what it changes beside an edge, of most pixels there
_NEAR = 24  # colours (largest channel difference) that count as one after JPEG
_SOLID_SHARE = 0.3  # of a level's pixels, from which on it is areas
_SMALLEST_SHARE = 0.0005  # of all solid pixels: fewer of a colour are no level after JPEG


@dataclass(frozen=True)
class Levels:
    """The levels of a file, in order of `shades`.

    Attributes:
        codes: int32 (h, w), for each pixel its level.
        numbers: int32 (n,), the class numbers: grey levels or palette indices; for packed colours
            the colours themselves.
        colours: int32 (n, 3), RGB; of grey levels three times the level, of up to 16 bits.
        counts: int64 (n,), pixels of each level.
        solid: int64 (n,), those whose 3 x 3 neighbours are all of the same level.
        kind: "grey", "palette" or "colour", as of the file.
        exact: whether the levels are the file's own values; otherwise they are the centres of the
            values, to which each pixel's is the nearest.
        shades: int32 (n,), the brightest channel of each level.
        deviation: int32 (h, w), how far the pixel is from its level; 0 where `exact`.
    """

    codes: NDArray[np.int32]
    numbers: NDArray[np.int32]
    colours: NDArray[np.int32]
    counts: NDArray[np.int64]
    solid: NDArray[np.int64]
    kind: str
    exact: bool
    source: NDArray[np.int32]
    texture: float

    @property
    def shades(self) -> NDArray[np.int32]:
        return self.colours.max(axis=1)

    @property
    def is_grey(self) -> bool:
        """Whether no level has a colour; slight tints do not count."""
        return bool((np.ptp(self.colours, axis=1) <= (0 if self.exact else _TINT)).all())

    @cached_property
    def areas(self) -> list[int]:
        """The levels that fill areas, by their place."""
        if not self.exact:
            return list(range(len(self.counts)))
        return [
            int(at) for at in np.flatnonzero(self.solid >= _SOLID_SHARE * self.counts)
        ]

    def __len__(self) -> int:
        return len(self.counts)

    def where(self, levels: list[int]) -> NDArray[np.bool_]:
        """The pixels of these levels, bool (h, w)."""
        chosen = np.zeros(len(self), dtype=bool)
        chosen[levels] = True
        return chosen[self.codes]

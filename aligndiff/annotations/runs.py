"""Run lengths, as COCO (plain and compressed), CVAT and Label Studio write masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError

Bits = NDArray[np.bool_]  # (h, w)

_MOST_PIXELS = 120_000_000  # as many as a photo may have


def decode_runs(counts: Sequence[int], size: tuple[int, int], by_columns: bool) -> Bits:
    """Runs of background and object in turn, background first, as bool (h, w).

    `by_columns`: down the columns, as COCO does; else along the rows. InputError when the runs
    are not whole numbers that fill the size.
    """
    height, width = size
    check_area(size)
    try:
        runs = np.asarray(counts, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("an RLE mask holds a count that is no whole number") from None
    if runs.ndim != 1 or (runs < 0).any() or (runs > height * width).any():
        raise InputError("an RLE mask holds a count that is negative or too large")
    if runs.sum() != height * width:
        what = f"an RLE mask fills {runs.sum()} of {width} x {height} px"
        raise InputError(f"{what}; its size or its counts are wrong")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T if by_columns else flat.reshape(height, width)


def uncompress(text: str) -> list[int]:
    """COCO's compressed counts: 5 bits a character, low ones first.

    Bit 5 of a character (after 48 is taken off) says that more follow; bit 4 of the last one is the
    sign. From the fourth count on, a count is stored less the one two before it.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError("an RLE mask holds a character that COCO's counts have not")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError("an RLE mask ends in the middle of a count")
    return counts


def decode_brush(data: Sequence[int], size: tuple[int, int]) -> Bits:
    """Label Studio's brush: the alpha channel of RGBA in a stream of bits, as bool (h, w).

    32 bits: number of values; 5: bits of a value, less 1; 4 x 4: bits of the four lengths of a
    count, less 1. Then blocks: 1 bit whether one value is repeated, 2 bits which length the count
    has, the count less 1, and the value or values. InputError when it does not fill the size.
    """
    height, width = size
    check_area(size)
    try:
        stream = _Bits(bytes(data))
    except (TypeError, ValueError):
        raise InputError("a brush mask is no list of bytes") from None
    total, word = stream.take(32), stream.take(5) + 1
    lengths = [stream.take(4) + 1 for _ in range(4)]
    if total != height * width * 4:
        what = f"a brush mask holds {total} values, {width} x {height} px take"
        raise InputError(f"{what} {height * width * 4}; its size is wrong")
    values = np.zeros(total, dtype=np.uint8)
    at = 0
    while at < total:
        repeated = stream.take(1)
        count = stream.take(lengths[stream.take(2)]) + 1
        if at + count > total:
            raise InputError("a brush mask holds more values than it says")
        if repeated:
            values[at : at + count] = min(stream.take(word), 255)
        else:
            values[at : at + count] = [min(stream.take(word), 255) for _ in range(count)]
        at += count
    return values.reshape(height, width, 4)[..., 3] > 127


def check_area(size: tuple[int, int]) -> None:
    """Raise InputError for a size that no mask has, before memory is asked for."""
    if min(size) < 1 or size[0] * size[1] > _MOST_PIXELS:
        raise InputError(f"a mask of {size[1]} x {size[0]} px cannot be")


class _Bits:
    """Numbers of a few bits each, the high bits first, from bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> int:
        """The next `count` bits, at most 32, as a number."""
        end = self.at + count
        if end > 8 * len(self.data):
            raise InputError("a brush mask ends too early")
        first, last = self.at // 8, -(-end // 8)
        number = int.from_bytes(self.data[first:last]) >> (8 * last - end)
        self.at = end
        return number & ((1 << count) - 1)

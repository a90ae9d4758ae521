"""Likeness: how much an object in a generated image looks like the objects of the support pairs.

An object is three sets of descriptors: the colours within its mask, the texture around each of
its pixels, and, where the segmenter gives them, the features of its cells. Of each kind the
distance to the support is divided by the usual one, that of a support object to the others. So no
kind needs a scale of its own, and what varies between the support objects counts for little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Uint8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

SIDE = 48  # px: the square root of an object's area, wherever it is looked at
WIDEST = 4 * SIDE  # px of the longer side of a thin or scattered object there
SMOOTH = 2  # px over which a colour is taken: neither noise nor a blurred edge is a colour
EDGE = 1  # px at the outline whose gradients are the outline's
TEXTURE_REACHES = (0.05, 0.15)  # of SIDE: how far around a pixel its texture is told
CONTRAST = 1.5  # weight of gradients of Lab / 100 beside coherence, in [0, 1]
DESCRIPTORS = 200  # of an object and kind that are kept, evenly spread over the object
POOLED = 4000  # of a kind that the support is compared by; more pairs give fewer each
LEFT_OUT = 8  # support objects, the first ones, that tell the usual distance
# The usual distance of each kind (colour, texture, features) where a lone pair tells none, as
# found on the example objects and photos; half of it is the least: near-copies of one photo
# would call every other object a stranger.
TYPICAL = (0.11, 0.2, 1.2)


@dataclass(frozen=True)
class Looks:
    """What one object looks like; each float32 (n, c), with at least one row.

    Attributes:
        colour: CIELAB / 100 of its pixels.
        texture: of its pixels, contrast and coherence for each of `TEXTURE_REACHES`.
        features: of its cells, as the segmenter sees them, of length 1; None of one that does not
            tell them.
    """

    colour: Float
    texture: Float
    features: Float | None

    @property
    def kinds(self) -> list[Float]:
        """The sets that are there, in the order of `TYPICAL`."""
        return [self.colour, self.texture] + ([] if self.features is None else [self.features])


@dataclass(frozen=True)
class SupportLooks:
    """The looks of the support objects together, a set for each kind, and the usual distances."""

    known: tuple[Float, ...]
    usual: tuple[float, ...]

    def likeness(self, looks: Looks) -> float:
        """In (0, 1]: 1/2 of an object as far from the support as its objects are from each other.

        1/4 of one twice as far. Of the kinds' distances it is the root mean square: what is far off
        in one of them is not like it.
        """
        away = [
            both_ways(own, known) / usual
            for own, known, usual in zip(looks.kinds, self.known, self.usual, strict=True)
        ]
        return float(2 ** -np.sqrt(np.mean(np.square(away))))


def looks_of(image: Uint8, mask: Bool, features: Float | None = None) -> Looks:
    """The looks of the object in an image, uint8 (h, w, 3), below its mask, bool (h, w), not empty.

    `features`: of its cells, float32 (n, c), from the segmenter.
    """
    lab, inside = _at_one_size(image, mask)
    core = _core(inside)
    colour: Float = cv2.GaussianBlur(lab, (0, 0), SMOOTH)[core].astype(np.float32)
    texture = _texture(lab, core)
    directions = None if features is None else _directions(_evenly(features, DESCRIPTORS))
    return Looks(_evenly(colour, DESCRIPTORS), _evenly(texture, DESCRIPTORS), directions)


def learn_looks(objects: Sequence[Looks]) -> SupportLooks:
    """What the support objects, one at least, look like, and how far they are from each other."""
    kinds = [*zip(*(one.kinds for one in objects), strict=True)]
    share = max(1, POOLED // len(objects))
    known = tuple(np.concatenate([_evenly(own, share) for own in kind]) for kind in kinds)
    usual = tuple(map(_usual_distance, kinds, TYPICAL))
    return SupportLooks(known, usual)


def both_ways(some: Float, others: Float) -> float:
    """Mean distance of each row (n, c) to the nearest of the others (m, c), and the other way.

    The first finds what the others do not have, the second what is missing: the sum of both.
    """
    squares = (some**2).sum(1)[:, None] + (others**2).sum(1) - 2 * some @ others.T
    away = np.sqrt(squares.clip(0))
    return float(away.min(1).mean() + away.min(0).mean())


def _usual_distance(objects: Sequence[Float], typical: float) -> float:
    """Of a support object to the others together, on average."""
    if len(objects) < 2:
        return typical
    away = [
        both_ways(own, np.concatenate([*objects[:number], *objects[number + 1 :]]))
        for number, own in enumerate(objects[:LEFT_OUT])
    ]
    return max(float(np.mean(away)), typical / 2)


def _at_one_size(image: Uint8, mask: Bool) -> tuple[Float, Bool]:
    """The object's part of an image as CIELAB / 100, float32 (h, w, 3), and its mask, bool (h, w).

    Scaled so that its area is SIDE x SIDE px: texture is told in shares of the object.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part, inside = image[box], mask[box].astype(np.float32)
    scale = min(SIDE / np.count_nonzero(mask) ** 0.5, WIDEST / max(inside.shape))
    size = [max(1, round(length * scale)) for length in inside.shape[::-1]]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    colours = cv2.resize(part.astype(np.float32) / 255, size, interpolation=way)
    covered = cv2.resize(inside, size, interpolation=way)
    lab = np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2LAB), np.float32) / np.float32(100)
    return lab, np.asarray(covered > min(0.5, covered.max() / 2))


def _core(inside: Bool) -> Bool:
    """A mask, bool (h, w), without its outline; all of it where it is all outline."""
    kernel = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    within = cv2.copyMakeBorder(inside.astype(np.uint8), *4 * (EDGE,), cv2.BORDER_CONSTANT)
    core = np.asarray(cv2.erode(within, kernel)[EDGE:-EDGE, EDGE:-EDGE] > 0)
    return core if core.any() else inside


def _texture(lab: Float, where: Bool) -> Float:
    """Contrast and coherence around the pixels of `where`, bool (h, w): float32 (n, 2 x reaches).

    Of the structure tensor of the colours (Di Zenzo, 1986), which knows no direction: the root of
    its trace, and how much of that lies along one direction. Stripes are coherent, dots are not.
    """
    padded = np.pad(lab, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) * where[..., None]
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) * where[..., None]
    parts = [(across**2).sum(2), (down**2).sum(2), (across * down).sum(2), where]
    columns = []
    for reach in TEXTURE_REACHES:
        xx, yy, xy, weight = (
            cv2.GaussianBlur(part.astype(np.float32), (0, 0), reach * SIDE)[where] for part in parts
        )
        trace = (xx + yy) / weight.clip(1e-6)
        along = np.hypot(xx - yy, 2 * xy) / weight.clip(1e-6)
        columns += [CONTRAST * np.sqrt(trace), along / (trace + 1e-3)]
    return np.stack(columns, axis=1)


def _directions(features: Float) -> Float:
    """Rows (n, c) brought to length 1."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True).clip(1e-6)
    return np.asarray(features / lengths, np.float32)


def _evenly(rows: Float, most: int) -> Float:
    """At most so many rows, evenly spread over them."""
    if len(rows) <= most:
        return rows.astype(np.float32)
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)].astype(np.float32)

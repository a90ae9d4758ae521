"""What looks wrong about a mask: notes for a person to look at, never errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from aligndiff.dataset.images import OBJECT, Photo, Uint8

_MOST_COVERED = 0.85  # share of the picture that an object rarely takes
_SPECK = 0.001  # of the largest piece: smaller ones are specks
_SPECK_PIXELS = 3  # px; so small a piece is one in any mask
_FITS = 1.2  # times the contrast along its outline: so much better a mask fits one way round
_LISTED = 5  # files of one kind that a line names


class Reading(Protocol):
    """What is looked at of a `masks.MaskReading`."""

    @property
    def mask(self) -> Uint8: ...
    @property
    def orientation(self) -> int: ...


def shape_notes(mask: Uint8, chosen: bool = False) -> tuple[str, ...]:
    """Notes on a mask, uint8 (h, w): inverted, too large, touching all borders, specks.

    `chosen`: which class is the object was typed, so that it is not inverted by mistake.
    """
    is_object = mask == OBJECT
    covered = float(is_object.mean()) if mask.size else 0.0
    if covered in (0.0, 1.0):  # an error, which is told elsewhere
        return ()
    sides = (is_object[0], is_object[-1], is_object[:, 0], is_object[:, -1])
    touches_all = all(bool(side.any()) for side in sides)
    notes: list[str] = []
    if touches_all and covered > 0.5 and not chosen:
        notes.append(
            f"the object covers {covered:.0%} of the picture and touches all four borders; if the "
            'object is what is black, add "mask_class": 0'
        )
    elif touches_all:
        notes.append("the object touches all four borders")
    elif covered > _MOST_COVERED:
        notes.append(f"the object covers {covered:.0%} of the picture")
    if specks := _count_specks(is_object.astype(np.uint8)):
        pieces = "piece" if specks == 1 else "pieces"
        notes.append(f"the object has {specks} {pieces} of next to no size (specks?)")
    return tuple(notes)


def _count_specks(is_object: Uint8) -> int:
    _, _, stats, _ = cv2.connectedComponentsWithStats(is_object, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if len(areas) < 2:
        return 0
    largest = int(areas.max())
    limit = max(_SPECK_PIXELS, _SPECK * largest)
    return int((areas <= min(limit, largest / 10)).sum())


def turn_notes(photo: Photo, reading: Reading) -> tuple[str, ...]:
    """A note where EXIF turns the photo and not the mask, unless the mask fits the upright photo.

    A mask that was drawn on the photo as stored has the right size still where the photo is
    square, or is turned by 180 degrees.
    """
    if photo.orientation == 1 or reading.orientation != 1:
        return ()
    grey = photo.image.max(axis=2)
    as_is = _contrast(grey, reading.mask)
    turned = _contrast(grey, _turned(reading.mask, photo.orientation))
    if as_is >= _FITS * turned:
        return ()
    note = f"its photo is turned upright by EXIF (orientation {photo.orientation}), the mask is not"
    return (f"{note}: if it was drawn on the photo as stored, save it turned",)


def _turned(mask: Uint8, orientation: int) -> Uint8:
    """A mask drawn on the photo as stored, upright: as EXIF says that the photo is turned."""
    turned = {
        2: mask[:, ::-1],
        3: mask[::-1, ::-1],
        4: mask[::-1],
        5: mask.T,
        6: np.rot90(mask, -1),
        7: mask[::-1, ::-1].T,
        8: np.rot90(mask),
    }[orientation]
    return np.ascontiguousarray(turned)


def _contrast(grey: Uint8, mask: Uint8) -> float:
    """Mean brightness gradient of a photo, uint8 (h, w), along the outline of the object."""
    if grey.shape != mask.shape:
        return 0.0
    gradient = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    is_object = (mask == OBJECT).astype(np.uint8)
    outline = cv2.morphologyEx(is_object, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return float(gradient[outline].mean()) if outline.any() else 0.0


def grouped(notes: Sequence[tuple[Path, str]]) -> list[str]:
    """Notes as lines, one for each kind: the first in full, the other files by name."""
    kinds: dict[str, list[tuple[Path, str]]] = {}
    for path, note in notes:
        kinds.setdefault(re.split(r"\d|\(", note)[0], []).append((path, note))
    lines = []
    for alike in kinds.values():
        (path, note), others = alike[0], [path.name for path, _ in alike[1:]]
        named = ", ".join(others[:_LISTED]) + (", ..." if len(others) > _LISTED else "")
        lines.append(f"{path}: {note}" + (f"; likewise {named}" if others else ""))
    return lines

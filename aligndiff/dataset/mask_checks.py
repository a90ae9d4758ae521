"""What looks wrong about a mask: notes for a person to look at, never errors."""

from __future__ import annotations

import cv2
import numpy as np

from aligndiff.data.images import OBJECT, Uint8

_MOST_COVERED = 0.85  # share of the picture that an object rarely takes
_SPECK = 0.001  # of the largest piece: smaller ones are specks
_SPECK_PIXELS = 3  # px; so small a piece is one in any mask


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

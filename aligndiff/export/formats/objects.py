"""A mask's connected objects: what the layouts of single objects (COCO, YOLO) count."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aligndiff.core.options import Options, option
from aligndiff.dataset.images import Uint8

SPECKS = "parts below --min_object_area"  # in the counts of what was left out


@dataclass(frozen=True)
class ObjectOptions(Options):
    """What counts as an object."""

    min_object_area: int = option(
        10,
        "connected parts of a mask with fewer pixels are specks and left out; the largest part of "
        "an image always stays",
        0,
        unit="px",
    )


@dataclass(frozen=True)
class ObjectMask:
    """One object: its pixels within the box around it.

    Attributes:
        mask: uint8 (height, width) of 0 and 1, as large as the box.
        x: the box's left column in the image.
        y: its upper row.
        area: pixels of the object.
    """

    mask: Uint8
    x: int
    y: int
    area: int

    def within(self, shape: tuple[int, int]) -> Uint8:
        """The object in an image of `shape` (h, w): uint8 of 0 and 1, column by column in memory"""
        whole = np.zeros(shape, dtype=np.uint8, order="F")
        height, width = self.mask.shape
        whole[self.y : self.y + height, self.x : self.x + width] = self.mask
        return whole


@dataclass(frozen=True)
class Objects:
    """The objects of a mask, the largest first, and how many specks were left out."""

    masks: list[ObjectMask]
    specks: int


def objects_of(mask: Uint8, least: int) -> Objects:
    """Part a mask, uint8 (h, w) of 0 and 1, into what touches, also over a corner.

    Parts below `least` pixels are left out, but for the largest: no image loses its label.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    masks: list[ObjectMask] = []
    for label in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable"):
        x, y, width, height, area = map(int, stats[label])  # the order of cv2's columns
        if area >= least or not masks:
            box = labels[y : y + height, x : x + width]
            masks.append(ObjectMask(np.asarray(box == label, dtype=np.uint8), x, y, area))
    return Objects(masks, count - 1 - len(masks))

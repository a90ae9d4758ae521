"""A mask's connected objects: what the layouts of single objects (COCO, YOLO) count."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8

SPECKS = "parts below --min_object_area"  # in the counts of what was left out


@dataclass(frozen=True)
class ObjectOptions:
    """Which connected parts of a mask are objects."""

    min_object_area: int = field(
        default=10,
        metadata={
            "help": "connected parts of a mask with fewer pixels are specks and left out; the "
            "largest part of an image always stays"
        },
    )

    def __post_init__(self) -> None:
        if self.min_object_area < 0:
            raise InputError(
                f"--min_object_area must be at least 0 pixels, not {self.min_object_area}"
            )


@dataclass(frozen=True)
class Objects:
    """The objects of a mask, each uint8 (h, w) of 0 and 1, the largest first; specks are counted"""

    masks: list[Uint8]
    specks: int


def objects_of(mask: Uint8, least: int) -> Objects:
    """Part a mask, uint8 (h, w) of 0 and 1, into what touches, also over a corner.

    Parts below `least` pixels are left out, but for the largest: no image loses its label.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")
    kept = [part for rank, part in enumerate(order) if rank == 0 or areas[part] >= least]
    masks = [np.asarray(labels == part + 1, dtype=np.uint8) for part in kept]
    return Objects(masks, count - 1 - len(kept))

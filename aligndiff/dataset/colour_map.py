"""Pascal VOC's colours of class numbers, by which its palettes are drawn and its colours read."""

from __future__ import annotations

import numpy as np

from aligndiff.dataset.images import Uint8

VOID_COLOUR = (224, 224, 192)  # colour_map()[255], pale yellow: pixels that count nowhere


def colour_map() -> Uint8:
    """VOC's own colours of the 256 indices, uint8 RGB (256, 3): their bits, dealt to R, G and B."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    for index in range(256):
        for bit in range(8):
            colours[index, bit % 3] |= ((index >> bit) & 1) << (7 - bit // 3)
    return colours

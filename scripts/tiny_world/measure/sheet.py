"""A sheet of judged samples: images, heatmaps, the judge's masks and those of step 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aligndiff.render.canvas import GREY, INK, blank, fit, paste, paste_text, shortened
from aligndiff.render.overlay import overlay_heatmap, overlay_mask
from scripts.tiny_world.measure.samples import JudgedSample

_TILE, _BETWEEN, _MARGIN = 112, 4, 24  # px
_TITLE, _NUMBER = 18, 13  # font sizes in px
_PARTS = ("image", "heatmap", "judge's mask", "mask of step 3")


@dataclass(frozen=True)
class SheetGroup:
    """Samples that belong together on the sheet, each with a few words."""

    title: str
    samples: Sequence[JudgedSample]
    notes: Sequence[str]


def judged_sheet(groups: Sequence[SheetGroup], per_line: int = 2) -> np.ndarray:
    """Image, heatmap, the judge's mask and the mask of step 3 of each sample: uint8 RGB."""
    blocks = [_group_block(group, per_line) for group in groups if group.samples]
    if not blocks:
        return blank(2 * _MARGIN, 2 * _MARGIN)
    height = sum(block.shape[0] + _MARGIN for block in blocks)
    sheet = blank(height + _MARGIN, blocks[0].shape[1] + 2 * _MARGIN)
    top = _MARGIN
    for block in blocks:
        paste(sheet, block, top, _MARGIN)
        top += block.shape[0] + _MARGIN
    return sheet


def _group_block(group: SheetGroup, per_line: int) -> np.ndarray:
    strips = [_strip(*pair) for pair in zip(group.samples, group.notes, strict=True)]
    height, width = strips[0].shape[:2]
    lines = -(-len(strips) // per_line)
    head = _TITLE + _NUMBER + 22
    block = blank(head + lines * height, per_line * (width + _MARGIN) - _MARGIN)
    paste_text(block, group.title, 0, 0, _TITLE, INK)
    for number, part in enumerate(_PARTS * per_line):
        across, column = divmod(number, len(_PARTS))
        left = across * (width + _MARGIN) + column * (_TILE + _BETWEEN)
        paste_text(block, part, _TITLE + 12, left, _NUMBER, GREY)
    for number, strip in enumerate(strips):
        down, across = divmod(number, per_line)
        paste(block, strip, head + down * height, across * (width + _MARGIN))
    return block


def _strip(sample: JudgedSample, note: str) -> np.ndarray:
    tiles = [
        sample.image,
        overlay_heatmap(sample.image, sample.heatmap),
        overlay_mask(sample.image, sample.verdict.mask),
    ]
    if sample.mask is not None:
        tiles.append(overlay_mask(sample.image, sample.mask))
    width = len(_PARTS) * (_TILE + _BETWEEN) - _BETWEEN
    strip = blank(_TILE + 2 * _NUMBER, width)
    for number, tile in enumerate(tiles):
        paste(strip, fit(tile, _TILE), 0, number * (_TILE + _BETWEEN))
    paste_text(strip, shortened(note, _NUMBER, width), _TILE + 2, 0, _NUMBER, INK)
    return strip

"""Contact sheets: one picture that shows what a step made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8, resize_image, resize_mask, write_image
from aligndiff.dataset.support import SupportPair
from aligndiff.render.canvas import (
    AMBER,
    GREEN,
    GREY,
    INK,
    PALE,
    RED,
    blank,
    fit,
    fitting,
    letterbox,
    paste,
    paste_dot,
    paste_text,
    shortened,
    text_width,
)
from aligndiff.render.overlay import overlay_heatmap, overlay_mask

Mark = Literal["good", "guess", "bad"]

TILE = 128  # px of a tile's side
_MARGIN = 28  # px around the sheet
_TIGHT = 3  # px between tiles that show the same picture
_GAP = 16  # px between samples
_WIDE = 32  # px between the support pairs and what was made from them
_HEADING, _TITLE, _NOTE = 26, 17, 13  # font sizes in px
_LINE = 1.5  # line height as a multiple of the font size
_GUTTER = 150  # px that a row title may take
_MARKS = {"good": GREEN, "guess": AMBER, "bad": RED}


@dataclass(frozen=True)
class SheetSample:
    """A sample on a sheet.

    Attributes:
        image: uint8 RGB (h, w, 3).
        heatmap: uint8 (h, w), or None to leave it out.
        mask: (h, w): bool, or uint8 0 background, 1 object, 255 ignore; None when there is none
            (yet).
        note: a few words under the sample, such as "consensus, IoU 0.91".
        mark: the colour of the dot before the note.
    """

    image: Uint8
    heatmap: Uint8 | None = None
    mask: NDArray[np.bool_] | Uint8 | None = None
    note: str = ""
    mark: Mark | None = None


@dataclass(frozen=True)
class SheetRow:
    """An entry on a sheet: its support pairs on the left, its samples on the right."""

    title: str
    support: Sequence[SupportPair]
    samples: Sequence[SheetSample]
    subtitle: str = ""  # the prompt, say


def grid(
    rows: Sequence[Sequence[Uint8 | None]],
    *,
    title: str = "",
    row_titles: Sequence[str] = (),
    column_titles: Sequence[str] = (),
    tile: int = TILE,
) -> Uint8:
    """Lay out uint8 RGB tiles (h, w, 3) of any size in rows and columns; None leaves a place empty.

    Returns uint8 RGB (h, w, 3) on white.
    """
    columns = max((len(row) for row in rows), default=0)
    widest = max((text_width(text, _TITLE) for text in row_titles), default=0)
    gutter = min(widest, _GUTTER) + _GAP if row_titles else 0
    head = _line(_HEADING) + _GAP if title else 0
    top = _MARGIN + head + (_line(_TITLE) if column_titles else 0)
    left, pitch = _MARGIN + gutter, tile + _GAP
    content = max(gutter + columns * pitch - _GAP, min(text_width(title, _HEADING), 800))
    sheet = blank(top + len(rows) * pitch - _GAP + _MARGIN, content + 2 * _MARGIN)
    paste_text(sheet, title, _MARGIN, _MARGIN, _HEADING)
    for column, text in enumerate(column_titles):
        paste_text(
            sheet,
            shortened(text, _TITLE, tile),
            top - _line(_TITLE),
            left + column * pitch,
            _TITLE,
        )
    for number, row in enumerate(rows):
        if number < len(row_titles):
            text = shortened(row_titles[number], _TITLE, _GUTTER)
            paste_text(sheet, text, top + number * pitch + tile // 2 - _TITLE, _MARGIN, _TITLE)
        for column, image in enumerate(row):
            if image is not None:
                paste(sheet, fit(image, tile), top + number * pitch, left + column * pitch)
    return sheet


def step_sheet(
    title: str, rows: Sequence[SheetRow], *, samples_per_line: int = 3, tile: int = TILE
) -> Uint8:
    """One block per entry: support pairs | image, heatmap overlay, mask overlay of some samples.

    All samples of a row are shown, `samples_per_line` beside each other; the columns that no sample
    of the sheet has (masks, before step 3) are left out. Returns uint8 RGB (h, w, 3) on white.
    """
    parts = _parts(rows)
    blocks = [_block(row, parts, samples_per_line, tile) for row in rows]
    width = max([block.shape[1] for block in blocks] + [text_width(title, _HEADING)])
    head = _line(_HEADING) + _GAP
    height = head + sum(block.shape[0] for block in blocks) + _WIDE * max(len(blocks) - 1, 0)
    sheet = blank(height + 2 * _MARGIN, width + 2 * _MARGIN)
    paste_text(sheet, title, _MARGIN, _MARGIN, _HEADING)
    top = _MARGIN + head
    for number, block in enumerate(blocks):
        if number:
            sheet[top - _WIDE // 2 - 2, _MARGIN:-_MARGIN] = PALE
        paste(sheet, block, top, _MARGIN)
        top += block.shape[0] + _WIDE
    return sheet


def write_sheet(path: str | Path, sheet: Uint8) -> None:
    """Write a sheet, uint8 RGB (h, w, 3), whole."""
    write_image(path, sheet)


def _parts(rows: Sequence[SheetRow]) -> list[str]:
    """The pictures shown of each sample, in order."""
    samples = [sample for row in rows for sample in row.samples]
    parts = ["image"]
    if any(sample.heatmap is not None for sample in samples):
        parts.append("heatmap")
    if any(sample.mask is not None for sample in samples):
        parts.append("mask")
    return parts


def _block(row: SheetRow, parts: Sequence[str], per_line: int, tile: int) -> Uint8:
    """An entry's part of the sheet."""
    noted = any(sample.note or sample.mark for sample in row.samples)
    lines = max(1, -(-len(row.samples) // per_line))
    step = tile + (_line(_NOTE) + _TIGHT if noted else 0) + _GAP
    sample_width = len(parts) * (tile + _TIGHT) - _TIGHT
    support_width = 2 * tile + _TIGHT
    left = support_width + _WIDE
    width = left + per_line * (sample_width + _GAP) - _GAP
    top = _line(_TITLE) + _line(_NOTE) + 6
    block = blank(top + lines * step - _GAP, width)
    paste_text(block, shortened(row.title, _TITLE, width), 0, 0, _TITLE)
    begin = text_width(row.title, _TITLE) + _GAP
    if row.subtitle and begin < width:
        subtitle = shortened(row.subtitle, _NOTE, width - begin)
        paste_text(block, subtitle, _TITLE - _NOTE, begin, _NOTE, GREY)
    _name_columns(block, parts, per_line, tile, left)
    support_rows = max(1, (lines * step - _GAP) // (tile + _TIGHT))
    for number, pair in enumerate(row.support[: 2 * support_rows]):
        down, across = divmod(number, 2)
        place = top + down * (tile + _TIGHT), across * (tile + _TIGHT)
        paste(block, mask_tile(pair.image, pair.mask, tile), *place)
    for number, sample in enumerate(row.samples):
        down, across = divmod(number, per_line)
        picture = _sample(sample, parts, tile, noted)
        paste(block, picture, top + down * step, left + across * (sample_width + _GAP))
    return block


def _name_columns(block: Uint8, parts: Sequence[str], per_line: int, tile: int, left: int) -> None:
    top = _line(_TITLE)
    paste_text(block, "support", top, 0, _NOTE, GREY)
    group = len(parts) * (tile + _TIGHT) - _TIGHT + _GAP
    for across in range(per_line):
        for number, part in enumerate(parts):
            at = left + across * group + number * (tile + _TIGHT)
            paste_text(block, part, top, at, _NOTE, GREY)


def _sample(sample: SheetSample, parts: Sequence[str], tile: int, noted: bool) -> Uint8:
    """Image, heatmap and mask of a sample side by side, with its note below."""
    note_height = _line(_NOTE) + _TIGHT if noted else 0
    picture = blank(tile + note_height, len(parts) * (tile + _TIGHT) - _TIGHT)
    for number, part in enumerate(parts):
        paste(picture, _tile(sample, part, tile), 0, number * (tile + _TIGHT))
    begin = 0
    if sample.mark is not None:
        paste_dot(picture, tile + _TIGHT + _NOTE * 0.66, 5, 4.2, _MARKS[sample.mark])
        begin = 14
    if sample.note:
        note = shortened(sample.note, _NOTE, picture.shape[1] - begin)
        paste_text(picture, note, tile + _TIGHT, begin, _NOTE, INK)
    return picture


def _tile(sample: SheetSample, part: str, tile: int) -> Uint8:
    if part == "heatmap" and sample.heatmap is not None:
        size = fitting(sample.image.shape[:2], tile)
        heat = resize_image(np.repeat(sample.heatmap[..., None], 3, axis=2), size)[..., 0]
        return letterbox(overlay_heatmap(resize_image(sample.image, size), heat), tile)
    if part == "mask" and sample.mask is not None:
        return mask_tile(sample.image, sample.mask, tile)
    if part == "image":
        return fit(sample.image, tile)
    return blank(tile, tile, PALE)


def mask_tile(image: Uint8, mask: NDArray[np.bool_] | Uint8, tile: int) -> Uint8:
    """A mask over its image; drawn at the tile's size, so that outlines are the same everywhere."""
    size = fitting(image.shape[:2], tile)
    small = resize_mask(mask.astype(np.uint8), size)
    return letterbox(overlay_mask(resize_image(image, size), small), tile)


def _line(size: int) -> int:
    return round(size * _LINE)

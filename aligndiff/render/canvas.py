"""Colours, text and tiles on uint8 RGB canvases (h, w, 3), shared by sheets and plots."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aligndiff.dataset.images import Uint8, resize_image

Colour = tuple[int, int, int]  # RGB, 0..255

WHITE: Colour = (255, 255, 255)
INK: Colour = (28, 32, 38)  # headings
GREY: Colour = (112, 119, 128)  # notes, numbers on axes
PALE: Colour = (229, 232, 236)  # lines that must not be louder than the data
GREEN: Colour = (34, 158, 92)
AMBER: Colour = (230, 150, 20)
RED: Colour = (214, 58, 64)

# Curves: far apart in hue and in lightness, for eyes that see few hues as well.
PALETTE: tuple[Colour, ...] = (
    (31, 111, 200),
    (232, 119, 34),
    (22, 150, 120),
    (190, 60, 140),
    (120, 94, 210),
    (150, 120, 60),
)

_ELLIPSIS = "..."


def blank(height: int, width: int, colour: Colour = WHITE) -> Uint8:
    """A canvas of one colour, uint8 (h, w, 3)."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def paste(canvas: Uint8, tile: Uint8, top: int, left: int) -> None:
    """Put uint8 (h, w, 3) on the canvas, in place; what lies outside is cut off."""
    height = min(tile.shape[0], canvas.shape[0] - top)
    width = min(tile.shape[1], canvas.shape[1] - left)
    if height > 0 and width > 0:
        canvas[top : top + height, left : left + width] = tile[:height, :width]


def framed(image: Uint8, colour: Colour) -> Uint8:
    """A copy of uint8 (h, w, 3) with a frame of a colour on its border, 1/32 of its side wide."""
    width = max(1, min(image.shape[:2]) // 32)
    copy = np.full_like(image, colour)
    copy[width:-width, width:-width] = image[width:-width, width:-width]
    return copy


def paste_text(
    canvas: Uint8, text: str, top: int, left: int, size: int, colour: Colour = INK
) -> None:
    """Draw one line of text on the canvas, in place, with its upper left corner at (top, left)."""
    ink = text_coverage(text, size)
    height = min(ink.shape[0], canvas.shape[0] - top)
    width = min(ink.shape[1], canvas.shape[1] - left)
    if height <= 0 or width <= 0:
        return
    strength = ink[:height, :width, None].astype(np.float32) / 255
    under = canvas[top : top + height, left : left + width]
    blended = under * (1 - strength) + np.asarray(colour, np.float32) * strength
    canvas[top : top + height, left : left + width] = np.round(blended).astype(np.uint8)


def paste_dot(canvas: Uint8, top: float, left: float, radius: float, colour: Colour) -> None:
    """Draw a filled disc with a soft edge on the canvas, in place, centred at (top, left)."""
    rows, columns = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
    distance = np.hypot(rows - top, columns - left)
    strength = np.clip(radius + 0.5 - distance, 0, 1)[..., None]
    canvas[:] = np.round(canvas * (1 - strength) + np.asarray(colour) * strength).astype(np.uint8)


def text_width(text: str, size: int) -> int:
    """Width in px of one line of text."""
    return int(text_coverage(text, size).shape[1])


def shortened(text: str, size: int, width: int) -> str:
    """The text, or as much of its beginning as fits into `width` px, with an ellipsis."""
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        fits = text_width(text[:middle].rstrip() + _ELLIPSIS, size) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return text[:low].rstrip() + _ELLIPSIS


def fit(image: Uint8, tile: int) -> Uint8:
    """Scale uint8 RGB (h, w, 3) into a square of `tile` px, centred on pale grey."""
    return letterbox(resize_image(image, fitting(image.shape[:2], tile)), tile)


def fitting(size: tuple[int, int], tile: int) -> tuple[int, int]:
    """The (h, w) of a picture of (h, w) `size` whose longer side is made `tile` px."""
    scale = tile / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def letterbox(image: Uint8, tile: int) -> Uint8:
    """Centre uint8 RGB (h, w, 3) in a square of `tile` px of pale grey."""
    square = blank(tile, tile, PALE)
    paste(square, image, (tile - image.shape[0]) // 2, (tile - image.shape[1]) // 2)
    return square


def text_coverage(text: str, height: int) -> Uint8:
    """Draw one line of text at font size `height` px: uint8 (h, w), 255 where the ink is full.

    All lines of one size have the same height and the same base line.
    """
    font = ImageFont.load_default(height)
    ascent, descent = round(height * 0.95), round(height * 0.35)
    width = max(1, math.ceil(font.getlength(text)) + 1)
    canvas = Image.new("L", (width, ascent + descent), 0)
    ImageDraw.Draw(canvas).text((0, ascent), text, fill=255, font=font, anchor="ls")
    return np.array(canvas)

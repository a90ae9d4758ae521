"""Heatmaps and masks drawn over their image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT, Uint8
from aligndiff.render.canvas import Colour

MASK_COLOUR: Colour = (255, 40, 130)  # a pink that neither nature nor the tiny world has much of
_IGNORE_COLOUR: Colour = (150, 150, 160)
_DIM = 0.45  # how bright the background stays
_COOL, _HOT = 0.30, 0.72  # strength of the heat colours where the heatmap is 0 and 255
_OUTLINE = 96  # px of image side for each px of outline
_HEAT_LEVELS = 64  # of a layer: a soft map shows no more, and the file is half as large
_SHADE = (14, 16, 22, 165)  # RGBA over the background


def overlay_heatmap(image: Uint8, heatmap: Uint8) -> Uint8:
    """Lay heat colours over a grey version of the image.

    image: uint8 RGB (h, w, 3); heatmap: uint8 (h, w). Returns uint8 RGB (h, w, 3).
    """
    _check_sizes(image, heatmap)
    heat_bgr = cv2.applyColorMap(np.ascontiguousarray(heatmap), cv2.COLORMAP_TURBO)
    colours = heat_bgr[..., ::-1].astype(np.float32)
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    # The image's own colours would mix with those that mean heat.
    base = 0.75 * grey + 0.25 * image
    strength = _COOL + (_HOT - _COOL) * heatmap[..., None].astype(np.float32) / 255
    blended = np.round(base * (1 - strength) + colours * strength)
    return np.asarray(blended, dtype=np.uint8)


def overlay_mask(image: Uint8, mask: NDArray[np.bool_] | Uint8) -> Uint8:
    """Outline the object, in its own colours, on a dim grey background; grey what is ignored.

    image: uint8 RGB (h, w, 3); mask (h, w): bool, or uint8 0 background, 1 object, 255 ignore.
    Returns uint8 RGB (h, w, 3).
    """
    _check_sizes(image, mask)
    ignored = (mask == IGNORE) if mask.dtype == np.uint8 else np.zeros(mask.shape, dtype=bool)
    inside = (mask != BACKGROUND) & ~ignored
    drawn = image.astype(np.float32)
    drawn[~inside] = drawn[~inside].mean(axis=1, keepdims=True) * _DIM
    drawn[ignored] = drawn[ignored] * 0.5 + np.asarray(_IGNORE_COLOUR, np.float32) * 0.5
    result = np.ascontiguousarray(np.round(drawn).astype(np.uint8))
    thickness = max(1, round(max(mask.shape) / _OUTLINE))
    outline, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(result, outline, -1, MASK_COLOUR, thickness, cv2.LINE_AA)
    return result


def heatmap_layer(heatmap: Uint8) -> tuple[Uint8, Uint8]:
    """The heat colours of `overlay_heatmap` without the image, for `write_layer`.

    heatmap: uint8 (h, w). Returns indices, uint8 (h, w), and their palette, uint8 RGBA (n, 4).
    """
    levels = np.linspace(0, 255, _HEAT_LEVELS)
    heat_bgr = cv2.applyColorMap(np.round(levels).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)
    strength = 255 * (_COOL + (_HOT - _COOL) * levels / 255)
    palette = np.column_stack([heat_bgr[:, 0, ::-1], np.round(strength)]).astype(np.uint8)
    return heatmap // np.uint8(256 // _HEAT_LEVELS), palette


def mask_layer(mask: Uint8) -> tuple[Uint8, Uint8]:
    """Shade for the background and an outline around the object, for `write_layer`.

    mask: uint8 (h, w), 0 background, 1 object, 255 ignore. The object's own pixels stay clear.
    Returns indices, uint8 (h, w), and their palette, uint8 RGBA (n, 4).
    """
    inside, ignored = mask == OBJECT, mask == IGNORE
    reach = 2 * max(1, round(max(mask.shape) / (2 * _OUTLINE))) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    around = cv2.dilate(inside.astype(np.uint8), disc) > 0
    indices = np.select([inside, ignored, around], [1, 3, 2], 0).astype(np.uint8)
    colours = [_SHADE, (0, 0, 0, 0), (*MASK_COLOUR, 255), (*_IGNORE_COLOUR, 150)]
    return indices, np.array(colours, dtype=np.uint8)


def _check_sizes(image: Uint8, over: NDArray[np.generic]) -> None:
    if image.shape[:2] != over.shape:
        raise ValueError(f"image is {image.shape[:2]}, what is laid over it {over.shape}")

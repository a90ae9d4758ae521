"""The pictures of one sample or support pair in the gallery, and what is measured on its mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import (
    IGNORE,
    OBJECT,
    Uint8,
    resize_image,
    resize_mask,
    write_layer,
    write_preview,
)
from aligndiff.render.canvas import fitting
from aligndiff.render.overlay import heatmap_layer, mask_layer

LARGE_SIDE = 512  # px, the longer side of the picture that is shown alone
_HEATMAP_SIDE = 128  # px; attention has 64 cells a side at most
_CELLS = 16  # a side; where a mask lies is kept as one bit for each cell


@dataclass(frozen=True)
class MaskStats:
    """What the page knows of a picture beyond its record; the last four are None without a mask.

    Attributes:
        height, width: of the image, px.
        area: part of the image that is object, 0 to 1.
        x, y: of the object's centre, 0 (left, top) to 1.
        cells: 16 x 16 bits as hex, row by row, set where the object covers half of the cell.
    """

    height: int
    width: int
    area: float | None = None
    x: float | None = None
    y: float | None = None
    cells: str | None = None


@dataclass(frozen=True)
class PictureFiles:
    """The files of one sample, by the beginning of their names."""

    stem: Path

    @property
    def thumbnail(self) -> Path:
        return self._named(".jpg")

    @property
    def large(self) -> Path:
        """Only of an image that is larger than its thumbnail."""
        return self._named("_large.jpg")

    @property
    def heatmap(self) -> Path:
        """A layer over the image, as is the mask."""
        return self._named("_heatmap.png")

    @property
    def mask(self) -> Path:
        return self._named("_mask.png")

    def _named(self, ending: str) -> Path:
        return self.stem.with_name(self.stem.name + ending)

    def are_there(self, stats: MaskStats, thumbnail_size: int, heatmap: bool) -> bool:
        """Whether no file that the page will ask for is missing."""
        paths = [self.thumbnail]
        paths += [self.large] if max(stats.height, stats.width) > thumbnail_size else []
        paths += [self.heatmap] if heatmap else []
        paths += [self.mask] if stats.area is not None else []
        return all(path.exists() for path in paths)


def draw_pictures(
    files: PictureFiles,
    image: Uint8,
    heatmap: Uint8 | None,
    mask: NDArray[np.bool_] | Uint8 | None,
    thumbnail_size: int,
) -> MaskStats:
    """Write the pictures of a sample and measure its mask.

    image: uint8 RGB (h, w, 3); heatmap: uint8 (h, w); mask (h, w): bool, or uint8 0 background,
    1 object, 255 ignore; `thumbnail_size`: the longer side, px.
    """
    large = _reduced(image, LARGE_SIDE)
    if max(image.shape[:2]) > thumbnail_size:
        write_preview(files.large, large)
    write_preview(files.thumbnail, _reduced(large, thumbnail_size))
    if heatmap is not None:
        write_layer(files.heatmap, *heatmap_layer(_reduced(heatmap, _HEATMAP_SIDE)))
    height, width = image.shape[:2]
    if mask is None:
        return MaskStats(height, width)
    small = resize_mask(mask.astype(np.uint8), large.shape[:2])
    write_layer(files.mask, *mask_layer(small))
    return measured(mask)


def measured(mask: NDArray[np.bool_] | Uint8) -> MaskStats:
    """Size, place and coarse shape of the object.

    mask (h, w): bool, or uint8 0 background, 1 object, 255 ignore, which is no part of the image.
    """
    height, width = mask.shape
    inside = mask == OBJECT  # True equals 1
    counted = inside.size - int(np.count_nonzero(mask == IGNORE) if mask.dtype == np.uint8 else 0)
    pixels = int(np.count_nonzero(inside))
    if pixels == 0:
        return MaskStats(height, width, area=0.0)
    return MaskStats(
        height,
        width,
        area=round(pixels / counted, 5),
        x=round(float(inside.sum(0) @ (np.arange(width) + 0.5)) / pixels / width, 4),
        y=round(float(inside.sum(1) @ (np.arange(height) + 0.5)) / pixels / height, 4),
        cells=_coarse(inside),
    )


def _coarse(inside: NDArray[np.bool_]) -> str:
    covered = cv2.resize(inside.astype(np.float32), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    # An object smaller than a cell shows in the one that has most of it.
    return np.packbits(covered >= min(0.5, float(covered.max()))).tobytes().hex()


def _reduced(picture: Uint8, side: int) -> Uint8:
    """Uint8 (h, w) or (h, w, 3) with its longer side reduced to `side` px, never enlarged."""
    size = picture.shape[:2]
    return picture if max(size) <= side else resize_image(picture, fitting(size, side))

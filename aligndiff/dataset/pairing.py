"""Which of two files is the mask: judged by what is in them, not by their formats."""

from __future__ import annotations

import functools
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.label_maps import PhotoError, UnclearMaskError
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.masks import mask_of
from aligndiff.dataset.raster import DecodedFile, open_picture, raster_of

_SIDE = 512  # px of the longer side that are looked at, or up to twice as many
_SIMPLER = 0.5  # of the photo's content a mask has less
_SOLID_ALPHA = 32  # spread of the transparency, of 255, that has a shape
_NOISE_BITS = 4  # of a value of 8


def which_is_mask(first: Path, second: Path, mask_class: MaskClass | None = None) -> Path:
    """The mask of two files: the one that consists of areas of one value, or of a cut-out.

    Where that is true of both it is the one that holds much less, by how far it can be compressed,
    else the one with a transparent part, else the only PNG. InputError when nothing tells, or when
    neither can be read.
    """
    stamps = tuple((path, *_stamp(path)) for path in (first, second))
    return _which(*stamps, mask_class)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=4096)  # asked for several times in a run, at the cost of decoding
def _which(
    first: tuple[Path, int, int], second: tuple[Path, int, int], mask_class: MaskClass | None
) -> Path:
    files = [first[0], second[0]]
    pictures, problems = _look_at(files)
    good = [at for at in (0, 1) if at in pictures]
    if not good:
        raise InputError(problems)
    masks = [at for at in good if _is_mask(pictures[at], mask_class)]
    if problems:  # the other file is what this one is not; what is wrong with it is told later
        return files[good[0]] if masks else files[1 - good[0]]
    if len(masks) == 1:
        return files[masks[0]]
    if masks:
        contents = [_content(pictures[at]) for at in (0, 1)]
        shapes = [at for at in (0, 1) if _has_shape(pictures[at])]
        for at in (0, 1):
            if contents[at] <= _SIMPLER * contents[1 - at]:
                return files[at]
        if len(shapes) == 1:
            return files[shapes[0]]
        pngs = [path for path in files if path.suffix.lower() == ".png"]
        if len(pngs) == 1:  # two flat pictures: as pairs are usually written
            return pngs[0]
    names = " and ".join(path.name for path in files)
    problem = f"{files[0].with_suffix('')}: cannot tell which of {names} is the mask"
    raise InputError(f"{problem}; save the mask as a black and white PNG and the image as JPG")


def _look_at(files: list[Path]) -> tuple[dict[int, DecodedFile], list[str]]:
    """The files that can be read, by their place, and what is wrong with the others."""
    pictures: dict[int, DecodedFile] = {}
    problems: list[str] = []
    for at, path in enumerate(files):
        try:
            picture = open_picture(path, may_be_cut=True, side=_SIDE)
            step = max(1, max(picture.image.size) // _SIDE)
            nearest = (-(-picture.image.width // step), -(-picture.image.height // step))
            small = picture.image.resize(nearest, Image.Resampling.NEAREST)
            pictures[at] = replace(picture, image=small)
        except InputError as error:
            problems += error.problems
    return pictures, problems


def _content(picture: DecodedFile) -> float:
    """Bytes for a pixel that the picture takes when compressed without its noise."""
    image = picture.image
    wide = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        deep = np.asarray(image, dtype=np.float64)
        wide = (deep * 255 / max(deep.max(initial=0), 1)).astype(np.uint8)[..., None]
    if wide.shape[2] == 4:
        wide = wide[..., :3] * (wide[..., 3:] > 127)
    seen = np.ascontiguousarray(wide >> _NOISE_BITS)
    return len(zlib.compress(seen.tobytes(), 1)) / max(1, seen.shape[0] * seen.shape[1])


def _has_shape(picture: DecodedFile) -> bool:
    """Whether the picture is transparent in parts."""
    if not picture.image.has_transparency_data:
        return False
    alpha = np.asarray(picture.image.convert("RGBA"))[..., 3]
    return int(np.ptp(alpha)) >= _SOLID_ALPHA


def _is_mask(picture: DecodedFile, mask_class: MaskClass | None) -> bool:
    """Whether the picture is a mask, be it one that can be read in two ways."""
    try:
        mask_of(raster_of(picture), mask_class)
    except PhotoError:
        return False
    except UnclearMaskError:
        return True
    return True

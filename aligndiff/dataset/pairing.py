"""Which of two files is the mask: judged by what is in them, not by their formats."""

from __future__ import annotations

import functools
import os
import zlib
from pathlib import Path

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.masks import UnclearMaskError, mask_of
from aligndiff.dataset.raster import Picture, open_picture, raster_of

_SIDE = 512  # px of the longer side that is looked at, or up to twice as many
_SIMPLER = 0.5  # of the photo's content a mask has less
_SOLID_ALPHA = 32  # spread of the transparency, of 255, that has a shape
_NOISE_BITS = 4  # of a value of 8


def which_is_mask(first: Path, second: Path, mask_class: MaskClass | None = None) -> Path:
    """The mask of two files: the one that holds much less, by how far it can be compressed.

    Where they hold about as much it is the one with a transparent part (a cut-out of the photo),
    else the one that can be read as a mask at all. InputError when nothing tells, or when a file
    cannot be read.
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
    if problems:  # the other one decides, so that its own problems are told, too
        good = [at for at in (0, 1) if at in pictures]
        if not good:
            raise InputError(problems)
        is_mask = _is_readable(pictures[good[0]], mask_class)
        return files[good[0]] if is_mask else files[1 - good[0]]
    contents = [_content(pictures[at]) for at in (0, 1)]
    for at in (0, 1):
        if contents[at] <= _SIMPLER * contents[1 - at]:
            return files[at]
    for tell in (_has_shape, functools.partial(_is_readable, mask_class=mask_class)):
        answers = [tell(pictures[at]) for at in (0, 1)]
        if answers.count(True) == 1:
            return files[answers.index(True)]
    names = " and ".join(path.name for path in files)
    problem = f"{files[0].with_suffix('')}: cannot tell which of {names} is the mask"
    raise InputError(f"{problem}; save the mask as a black and white PNG and the image as JPG")


def _look_at(files: list[Path]) -> tuple[dict[int, Picture], list[str]]:
    """The files that can be read, by their place, and what is wrong with the others."""
    pictures: dict[int, Picture] = {}
    problems: list[str] = []
    for at, path in enumerate(files):
        try:
            pictures[at] = open_picture(path, may_be_cut=True, side=_SIDE)
        except InputError as error:
            problems += error.problems
    return pictures, problems


def _content(picture: Picture) -> float:
    """Bytes for a pixel that the picture takes when compressed without its noise."""
    image = picture.image
    wide = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        deep = np.asarray(image, dtype=np.float64)
        wide = (deep * 255 / max(deep.max(initial=0), 1)).astype(np.uint8)[..., None]
    if wide.shape[2] == 4:
        wide = wide[..., :3] * (wide[..., 3:] > 127)
    step = max(1, max(wide.shape[:2]) // _SIDE)
    seen = np.ascontiguousarray(wide[::step, ::step] >> _NOISE_BITS)
    return len(zlib.compress(seen.tobytes(), 1)) / max(1, seen.shape[0] * seen.shape[1])


def _has_shape(picture: Picture) -> bool:
    """Whether the picture is transparent in parts."""
    if not picture.image.has_transparency_data:
        return False
    alpha = np.asarray(picture.image.convert("RGBA"))[..., 3]
    return int(np.ptp(alpha)) >= _SOLID_ALPHA


def _is_readable(picture: Picture, mask_class: MaskClass | None) -> bool:
    try:
        mask_of(raster_of(picture), mask_class)
    except UnclearMaskError:
        return False
    return True

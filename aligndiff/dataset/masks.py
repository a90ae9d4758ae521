"""What a mask file means: the one rule, in the order of the table in docs/FORMAT.md.

A file is read by what is in it. Where two readings are possible it is refused, with the values
that it holds and what to type; `mask_class` then says which is the object:

    7           the class or instance of this number (a grey level, a palette's index)
    "#c08080"   the class of this colour
    "any"       everything but the background: 255 and white are object, too
    "trimap"    grey as in matting: dark is background, mid grey is ignored, bright is object
    "alpha"     what is not transparent
"""

from __future__ import annotations

from dataclasses import dataclass

from aligndiff.data import images
from aligndiff.data.images import Uint8
from aligndiff.ground.files import Source

MaskClass = int | str


@dataclass(frozen=True)
class MaskReading:
    """A mask file as it was read.

    Attributes:
        mask: uint8 (h, w): 0 background, 1 object, 255 ignore.
        notes: what looks wrong or was decided, each a few words without the file's name.
    """

    mask: Uint8
    notes: tuple[str, ...] = ()


def read_mask(path: Source, mask_class: MaskClass | None = None) -> Uint8:
    """Read a mask of any usual kind as uint8 (h, w): 0 background, 1 object, 255 ignore.

    InputError names a file that is missing, broken, no mask, or that may be read in two ways.
    """
    return interpret_mask(path, mask_class).mask


def interpret_mask(path: Source, mask_class: MaskClass | None = None) -> MaskReading:
    """Read a mask as `read_mask` does, with notes on what looks wrong."""
    return MaskReading(images.read_mask(path))

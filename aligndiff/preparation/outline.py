"""Masks drawn by hand: a page of this machine's own, where a person outlines each photo's object.

The interface for `scripts/prepare_dataset.py --outline`:

    def save(photo: Path, mask: Mask) -> None:
        ...  # copy the photo, write the mask beside it (write_mask); InputError is shown in the page

    saved = outline_photos(photos, save, title="mushroom", say=say)

`outline_photos` prints through `say` where the page is, waits until the person is done, and returns
the photos whose masks were saved, in the order of `photos`. Each mask is saved when the person goes
on to the next photo, so that nothing is lost when the command is stopped: Ctrl-C passes through as
KeyboardInterrupt, after a mask that is just being written. Nothing is written but by `save`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (h, w) of the upright photo (EXIF applied), True on the object
Save = Callable[[Path, Mask], None]


def outline_photos(
    photos: Sequence[Path],
    save: Save,
    *,
    say: Callable[[str], None],
    title: str = "",
    masks: Mapping[Path, Path] | None = None,
    port: int = 0,
) -> list[Path]:
    """Let a person draw the masks of `photos` in a browser; returns the photos that were saved.

    save: is called with the photo and its mask, never an empty one, once or (after corrections)
        more often for a photo, by one thread at a time; what it raises as InputError or OSError is
        shown in the page and the person goes on.
    say: prints a line: the page's address, and how to reach it from another machine.
    title: what is to be outlined, shown in the page; the category.
    masks: mask files of photos that have one, to be corrected.
    port: of 127.0.0.1; 0 takes a free one. InputError when it is taken.
    """
    raise NotImplementedError

"""Masks that are pictures of their own: read, and told from photos, by the dataset's rules."""

from __future__ import annotations

from pathlib import Path

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.masks import read_mask
from aligndiff.dataset.pairing import which_is_mask


def read_mask_file(path: Path) -> Uint8:
    """uint8 (h, w): 0 background, 1 object, 255 ignore; InputError names the file."""
    return read_mask(path)


def mask_of_two(files: list[Path]) -> Path:
    """Which of two files is the mask, by what is in them; InputError when nothing tells."""
    return which_is_mask(files[0], files[1])

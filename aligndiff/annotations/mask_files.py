"""Masks that are pictures of their own: read, and told from photos, by the dataset's rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.masks import read_mask_reading
from aligndiff.dataset.pairing import which_is_mask


@dataclass(frozen=True)
class MaskFiles:
    """How the mask files of a source are read.

    Attributes:
        mask_class: which class of the files is the object; None where there is but one.
        notes: what was decided about those that were read so far, each with its file.
    """

    mask_class: MaskClass | None = None
    notes: list[tuple[Path, str]] = field(default_factory=list)

    def read(self, path: Path) -> Uint8:
        """uint8 (h, w): 0 background, 1 object, 255 ignore; InputError names the file."""
        reading = read_mask_reading(path, self.mask_class)
        self.notes.extend((path, words) for words in reading.notes)
        return reading.mask

    def of_two(self, files: list[Path]) -> Path:
        """Which of two files is the mask, by what is in them; InputError when nothing tells."""
        return which_is_mask(files[0], files[1], self.mask_class)

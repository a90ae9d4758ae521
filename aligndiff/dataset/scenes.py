"""The composed scenes of a dataset folder, as whoever uses them afterwards reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import IGNORE, OBJECT, Uint8, read_grey, read_image, write_grey
from aligndiff.dataset.layout import SceneFolder
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.records import IMAGE_FORMATS, SceneRecord, SceneSetRecord

SCENE = "scene"  # the source of a scene's mask, beside those of the samples
_GREY, _WHITE = 127, 255  # of a mask file: ignore, object


@dataclass(frozen=True)
class StoredScene:
    """One scene on disk: its record, and its files when they are asked for."""

    place: SceneFolder
    record: SceneRecord

    @property
    def category(self) -> str:
        return self.place.category

    @property
    def name(self) -> str:
        """Unique within the dataset folder, fit for a file name."""
        return self.place.scene_name(self.record.index)

    @property
    def is_negative(self) -> bool:
        """Whether nothing in it is the object."""
        return self.record.area == 0

    @property
    def samples(self) -> frozenset[str]:
        """The names of the samples that went into it."""
        return frozenset(part.name for part in self.record.parts if part.source == "sample")

    @property
    def image_file(self) -> Path:
        return self.place.image_path(self.record.index, self.record.image_format)

    @property
    def mask_file(self) -> Path:
        return self.place.mask_path(self.record.index)

    def read_image(self) -> Uint8:
        """uint8 RGB (h, w, 3)."""
        return read_image(self.image_file)

    def read_mask(self) -> Uint8:
        """uint8 (h, w): 0 background, 1 object, 255 ignore."""
        return read_scene_mask(self.mask_file)


def stored_scenes(bank: PromptBank) -> Iterator[StoredScene]:
    """Every scene of the bank's categories, category by category, in the order of their indices.

    Scenes of earlier settings, which have not been replaced yet, are left out. Raises InputError
    for a record that cannot be read.
    """
    for category in bank.categories:
        place = SceneFolder(bank.root, category)
        made_with = SceneSetRecord.read_or_none(place.scenes_json)
        if made_with is None:
            continue
        for index in place.indices():
            scene = read_scene(place, index)
            if scene.record.fingerprint == made_with.fingerprint:
                yield scene


def read_scene(place: SceneFolder, index: int) -> StoredScene:
    """One scene. Raises InputError when its record is broken, or another scene's."""
    path = place.record_path(index)
    record = SceneRecord.read(path)
    if record.index != index:
        raise InputError(
            f"{path}: its index is {record.index}; remove the file, repeat compose_scenes"
        )
    return StoredScene(place, record)


def write_scene_mask(path: Path, mask: Uint8) -> None:
    """Write uint8 (h, w) of 0, 1, 255 (ignore) as black, white and mid grey (127)."""
    grey = np.zeros_like(mask)
    grey[mask == OBJECT], grey[mask == IGNORE] = _WHITE, _GREY
    write_grey(path, grey)


def read_scene_mask(path: Path) -> Uint8:
    """uint8 (h, w): 0 background, 1 object, 255 ignore."""
    grey = read_grey(path)
    mask = (grey > (_GREY + _WHITE) // 2).astype(np.uint8)
    mask[(grey > _GREY // 2) & (mask == 0)] = IGNORE
    return mask


def discard_scene(place: SceneFolder, index: int) -> None:
    """Remove a scene: its record first, so that a half removed scene is one to be made."""
    images = [place.image_path(index, image_format) for image_format in IMAGE_FORMATS]
    paths = place.record_path(index), place.mask_path(index), *images, place.failure_path(index)
    for path in paths:
        path.unlink(missing_ok=True)

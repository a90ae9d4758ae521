"""What is exported: one image with its mask, synthetic or real, read when it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.entries import Entry
from aligndiff.dataset.images import OBJECT, Uint8, encode
from aligndiff.dataset.records import SampleRecord
from aligndiff.dataset.samples import SETTINGS_FILE, StoredSample, settings_on_disk
from aligndiff.dataset.scenes import SCENE, StoredScene
from aligndiff.dataset.support import PairPaths, load_pair
from aligndiff.export.markup import hashed_slug

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
HUB_SPLITS: dict[Split, str] = {"train": "train", "val": "validation"}  # as the Hub names them
SUPPORT = "support"  # the source of a real pair


@dataclass(frozen=True)
class Picture:
    """An image and its mask, decoded: what can be read here can be read by whoever trains.

    Attributes:
        image: uint8 RGB (h, w, 3).
        mask: uint8 (h, w): 0 background, 1 object, 255 ignore; without object only in a negative
            scene.
        stored: the image file's own bytes, None for a photo, whose metadata stay private.
        stored_as: "jpg" or "png", what `stored` is.
    """

    image: Uint8
    mask: Uint8
    stored: bytes | None = None
    stored_as: str = ""

    @property
    def object(self) -> Uint8:
        """uint8 (h, w): 1 where the object is, 0 elsewhere and where it is ignored."""
        return np.asarray(self.mask == OBJECT, dtype=np.uint8)

    @property
    def area(self) -> float:
        """The part of the image that the object covers, in [0, 1]."""
        return float(self.object.mean())

    def image_file(self, suffix: str) -> bytes:
        """The image as a "jpg" or "png" file: its own bytes where they are one, else encoded."""
        if self.stored is not None and self.stored_as == suffix:
            return self.stored
        return encode(self.image, f".{suffix}")

    def mask_file(self) -> bytes:
        """The object as an 8-bit grey png, 0 and 255."""
        return encode(self.object * np.uint8(255), ".png")


@dataclass(frozen=True)
class ExportItem:
    """One image to export.

    Attributes:
        name: unique within the dataset folder, fit for a file name (letters, digits, - and _).
        category: as in `dataset.json`.
        entry: the entry's id; of a real pair the folder that it comes from, of a scene its own.
        source: "consensus", "pseudo_label", "scene" or "support".
        iou: of the segmenter's first mask with the heatmap, in [0, 1]; None of others.
        score: how sure the mask is, in [0, 1]; None of others, and of older records.
        likeness: of the object to the support's, in [0, 1]; None of others, and of older records.
        made_as: "jpg" or "png" of a synthetic image's file; None of a real pair.
        identity: changes when the image, the mask or the scores do.
        read: reads the image and the mask. Raises InputError where it cannot be used.
        read_coarse: bool (h, w): where step 3 saw the object in the heatmap; None of others.
        made_of: the names of the samples that went into a scene.
        is_negative: whether nothing in it is the object.
    """

    name: str
    category: str
    entry: str
    source: str
    iou: float | None
    made_as: str | None
    identity: tuple[Any, ...]
    read: Callable[[], Picture]
    read_coarse: Callable[[], NDArray[np.bool_]] | None = None
    made_of: frozenset[str] = frozenset()
    is_negative: bool = False
    score: float | None = None
    likeness: float | None = None

    @property
    def sureness(self) -> tuple[int, float, str]:
        """Sorts real pairs first, then consensus, pseudo-labels, scenes, then the highest IoU."""
        rank = (SUPPORT, "consensus", "pseudo_label", SCENE).index(self.source)
        return rank, -(self.iou or 0.0), self.name

    def facts(self) -> dict[str, Any]:
        """What an export tells of the image beside its pixels."""
        return {
            "name": self.name,
            "category": self.category,
            "mask_source": self.source,
            "iou": self.iou,
            "score": self.score,
            "likeness": self.likeness,
            "entry": self.entry,
        }


def item_of_sample(sample: StoredSample) -> ExportItem:
    """A refined sample."""
    record = sample.record
    return ExportItem(
        name=sample.name,
        category=sample.category,
        entry=sample.place.entry.id,
        source=record.mask_source or "",
        iou=record.iou,
        made_as=record.image_format,
        identity=(record.seed, record.fingerprint, record.refinement, *_scores(record)),
        read=partial(_read_sample, sample),
        read_coarse=partial(_read_coarse, sample),
        score=record.score,
        likeness=record.likeness,
    )


def item_of_scene(scene: StoredScene) -> ExportItem:
    """A composed scene, with or without the object."""
    record = scene.record
    return ExportItem(
        name=scene.name,
        category=scene.category,
        entry=f"scenes/{scene.place.folder.name}",
        source=SCENE,
        iou=None,
        made_as=record.image_format,
        identity=(record.seed, record.fingerprint),
        read=partial(_read_scene, scene),
        made_of=scene.samples,
        is_negative=scene.is_negative,
    )


def item_of_pair(entry: Entry, pair: PairPaths) -> ExportItem:
    """A real pair of an entry's `D_good_dir`."""
    # The category too: two of them may share a folder of pairs.
    parts = [entry.category, f"{entry.support_dir}/{pair.name}"]
    if entry.mask_class is not None:
        parts.append(str(entry.mask_class))
    key = json.dumps(parts, ensure_ascii=False)
    return ExportItem(
        name=f"{SUPPORT}-{hashed_slug(key)}",
        category=entry.category,
        entry=entry.support_dir,
        source=SUPPORT,
        iou=None,
        made_as=None,
        identity=(file_fingerprint(pair.image), file_fingerprint(pair.mask)),
        read=partial(_read_pair, pair),
    )


def _scores(record: SampleRecord) -> list[float | None]:
    """Older records have no likeness, and older exports do not know of any."""
    likeness = [] if record.likeness is None else [record.likeness]
    return [record.iou, record.score, *likeness]


def _read_sample(sample: StoredSample) -> Picture:
    image, mask = sample.read_image(), sample.read_labels()
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"{sample.name}: its mask has another size than its image; repeat step 3 (--overwrite)"
        )
    if not (mask == OBJECT).any():
        raise InputError(f"{sample.name}: its mask is empty; repeat step 3 with --overwrite")
    stored = sample.read_image_bytes()
    return Picture(image, mask, stored, sample.record.image_format)


def _read_scene(scene: StoredScene) -> Picture:
    stored = scene.image_file.read_bytes()
    return Picture(scene.read_image(), scene.read_mask(), stored, scene.record.image_format)


def _read_coarse(sample: StoredSample) -> NDArray[np.bool_]:
    threshold = settings_on_disk(sample.place).get("heatmap_threshold")
    if not isinstance(threshold, int | float):
        raise InputError(
            f"{sample.place.folder / SETTINGS_FILE}: tells no heatmap_threshold; repeat step 3 "
            "with --overwrite"
        )
    return sample.read_heatmap() > threshold * 255


def _read_pair(paths: PairPaths) -> Picture:
    pair = load_pair(paths)
    return Picture(pair.image, pair.mask)

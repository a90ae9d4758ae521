"""PASCAL-Part (Matcher, ICLR 2024) as it lies on disk: parts of objects of VOC 2010.

<data_dir>/Pascal-Part/VOCdevkit/VOC2010/JPEGImages/2008_000008.jpg
.../Annotations_Part_json_merged_part_classes/2008_000008.json    objects, boxes, masks of parts
.../all_obj_part_to_image.json     super-category -> object -> part -> names of train and val
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aligndiff.annotations.formats.coco import segmentation_shapes
from aligndiff.annotations.shapes import draw_mask
from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.images import Uint8, check_image
from aligndiff.evaluation.benchmarks.fold import (
    Fold,
    check_file,
    check_folders,
    check_photos,
    refuse_lists,
)
from aligndiff.evaluation.episodes import FewShotTest, Item

logger = logging.getLogger(__name__)

SUPER_CATEGORIES = ("animals", "indoor", "person", "vehicles")  # a fold each, in this order
TITLE, FOLDS = "PASCAL-Part", len(SUPER_CATEGORIES)
MOST_EPISODES = 2500
LEFT_OUT = {("aeroplane", "TAIL")}  # by Matcher
INDEX_BYTES, FILE_BYTES = 256 * 2**20, 64 * 2**20
_READERS, _AHEAD = 2, 32  # threads that read annotations, and how many wait


@dataclass(frozen=True)
class PartItem(Item):
    """A part of one object; `mask` is the file of annotations, `crop` the object's box."""

    part: str = ""
    number: int = 0  # of the object among those of the file

    def read_masks(self) -> list[Any]:
        """The run lengths of the part's masks: it may be in several pieces."""
        return _masks_of(_objects_in(self.mask)[self.number], self.part)


def open_test(fold: Fold) -> FewShotTest:
    """The parts of one super-category: those that its lists show in training and validation.

    An item is an image's first object with the part, cropped to its box. A class, an object's
    part, is a query in its turn.
    """
    root = fold.data_dir / "Pascal-Part" / "VOCdevkit" / "VOC2010"
    title, index = SUPER_CATEGORIES[fold.number], root / "all_obj_part_to_image.json"
    refuse_lists(fold, TITLE, index.name)
    photos, annotations = root / "JPEGImages", root / "Annotations_Part_json_merged_part_classes"
    check_folders(
        {
            photos: "the photos of VOC 2010 (2008_000008.jpg)",
            annotations: "the parts of each photo (2008_000008.json)",
        }
    )
    listed = read_parts(check_file(index, "the photos that show each part"), title)
    items: dict[str, list[Item]] = {f"{thing}+{part}": [] for thing, part in listed}
    names = dict.fromkeys(name for of_part in listed.values() for name in of_part)
    files = [annotations / f"{name}.json" for name in names]
    known = dict(zip(names, prefetch_map(_objects_in, files, _AHEAD, _READERS), strict=True))
    for (thing, part), of_part in listed.items():
        for name in dict.fromkeys(of_part):
            for number in _showing(known[name], thing, part):
                image, file = photos / f"{name}.jpg", annotations / f"{name}.json"
                crop = _box_of(known[name][number], file)
                label = list(listed).index((thing, part)) + 1
                items[f"{thing}+{part}"].append(PartItem(image, file, label, crop, part, number))
                break
    # Of what has fewer images no episode can be made: the published program would not end.
    tested = {
        name: tuple(of_class) for name, of_class in items.items() if len(of_class) > fold.shot
    }
    if rare := [name for name in items if name not in tested]:
        logger.warning("note: left out, with %d images at most: %s", fold.shot, ", ".join(rare))
    check_photos(tested, str(index))
    episodes = min(MOST_EPISODES, sum(map(len, listed.values())))
    return FewShotTest(
        f"{TITLE}, {title}", tested, _read_mask, "class by class", usual_episodes=episodes
    )


def read_parts(index: Path, title: str) -> dict[tuple[str, str], list[str]]:
    """The validation photos of each (object, part) of a super-category, in the file's order."""
    content = read_json(index, INDEX_BYTES)
    try:
        return {
            (thing, part): list(lists["val"])
            for thing, of_thing in content[title]["object"].items()
            for part, lists in of_thing["part"].items()
            if lists["train"] and lists["val"] and (thing, part) not in LEFT_OUT
        }
    except (AttributeError, KeyError, TypeError) as error:
        problem = f"holds no parts of {title} ({type(error).__name__}: {error})"
        raise InputError(f"{index}: {problem}; put Matcher's file there") from None


def _objects_in(path: Path) -> list[Any]:
    content = read_json(path, FILE_BYTES)
    things = content.get("object") if isinstance(content, dict) else None
    if not isinstance(things, list) or not all(isinstance(thing, dict) for thing in things):
        raise InputError(f"{path}: has no list `object`; put Matcher's file there")
    return things


def _showing(things: list[Any], name: str, part: str) -> Iterator[int]:
    """The numbers of the objects of this name that have the part."""
    for number, thing in enumerate(things):
        if thing.get("name") == name and _masks_of(thing, part):
            yield number


def _masks_of(thing: Any, part: str) -> list[Any]:
    return [
        mask
        for one in thing.get("parts") or []
        if one.get("name") == part
        for mask in one.get("mask") or []
    ]


def _box_of(thing: Any, path: Path) -> tuple[int, int, int, int]:
    """(left, top, right, bottom): the four numbers of `bndbox` in the file's order."""
    try:
        left, top, right, bottom = (int(float(value)) for value in thing["bndbox"].values())
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: an object has no `bndbox` of four numbers") from None
    if not (0 <= left < right and 0 <= top < bottom):
        raise InputError(f"{path}: an object has an empty `bndbox`; put Matcher's file there")
    return left, top, right, bottom


def _read_mask(item: Item) -> Uint8:
    """The part in the whole photo, uint8 (h, w) of 0 and 1."""
    assert isinstance(item, PartItem)
    size = check_image(item.image)
    shapes = [shape for mask in item.read_masks() for shape in segmentation_shapes(mask)]
    return np.asarray(draw_mask(shapes, [], size), np.uint8)

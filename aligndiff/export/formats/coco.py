"""COCO: images/, and annotations/instances_train.json and instances_val.json.

One annotation for each connected object, as RLE or, on request, as polygons. Category ids count
from 1. What a real pair ignores is background here: COCO has no third value.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_text
from aligndiff.core.options import Options, option
from aligndiff.dataset.images import Uint8
from aligndiff.export.formats.objects import SPECKS, ObjectMask, ObjectOptions, objects_of
from aligndiff.export.formats.polygons import polygons_of
from aligndiff.export.items import ExportItem, Picture, Split
from aligndiff.export.job import ExportJob, Format


@dataclass(frozen=True)
class CocoOptions(Options):
    """How COCO tells an object's shape."""

    polygons: bool = option(False, "polygons instead of RLE, as detectron2 reads by default")


def check_coco() -> None:
    """Raise InputError when pycocotools is not installed."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError:
        raise InputError(
            '--format coco needs pycocotools, which is not installed; pip install "pycocotools"'
        ) from None


def write_coco(job: ExportJob) -> None:
    """Write the job's items in COCO's layout."""
    images, suffix = job.make("images"), job.suffix
    least = job.options(ObjectOptions).min_object_area
    polygons = job.options(CocoOptions).polygons
    numbers = {category: number for number, category in enumerate(job.categories, start=1)}
    content: dict[Split, dict[str, Any]] = {split: _no_instances(numbers) for split in job.splits}

    def write(item: ExportItem, picture: Picture) -> tuple[dict[str, Any], list[Any], int]:
        name = f"{item.name}.{suffix}"
        (images / name).write_bytes(picture.image_file(suffix))
        height, width = picture.mask.shape
        objects = objects_of(picture.object, least)
        shapes = [_shape(part, picture.mask.shape, polygons) for part in objects.masks]
        return {"file_name": name, "height": height, "width": width}, shapes, objects.specks

    ids = itertools.count(1)  # over both splits: they may be loaded together
    for number, (item, (image, shapes, specks)) in enumerate(job.each(write), start=1):
        split = content[job.selection.split(item)]
        split["images"].append({"id": number, **image})
        for shape in shapes:
            keys = {"id": next(ids), "image_id": number, "category_id": numbers[item.category]}
            split["annotations"].append({**keys, **shape, "iscrowd": 0, **item.facts()})
        job.left_out[SPECKS] += specks
    for name, instances in content.items():
        # On one line: a point of a polygon on a line of its own would treble the file.
        text = json.dumps(instances, ensure_ascii=False, allow_nan=False)
        write_text(job.make("annotations") / f"instances_{name}.json", text)


def _no_instances(numbers: dict[str, int]) -> dict[str, Any]:
    """What a file of instances holds before its first image."""
    return {
        "info": {"description": "made by AlignDiff; see README.md"},
        "licenses": [],
        "categories": [
            {"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()
        ],
        "images": [],
        "annotations": [],
    }


def _shape(part: ObjectMask, size: tuple[int, int], polygons: bool) -> dict[str, Any]:
    """Segmentation, area in pixels and bbox [x, y, width, height] in an image of `size` (h, w)."""
    height, width = part.mask.shape
    return {
        "segmentation": _polygons(part) if polygons else _rle(part.within(size)),
        "area": part.area,
        "bbox": [float(value) for value in (part.x, part.y, width, height)],
    }


def _rle(mask: Uint8) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask, uint8 (h, w), columns first in memory."""
    from pycocotools import mask as rle

    encoded = rle.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def _polygons(part: ObjectMask) -> list[list[float]]:
    """Lists of x, y, x, y ... that pycocotools draws as the very object.

    A pixel of COCO reaches from its number to the next and counts when its middle is inside. The
    outline through the middles of quarter pixels runs a quarter of a pixel around these.
    """
    quarters = part.mask.repeat(2, axis=0).repeat(2, axis=1)
    corner = np.array([part.x, part.y])
    return [(corner + (polygon + 0.5) / 2).ravel().tolist() for polygon in polygons_of(quarters)]


COCO = Format(
    name="coco",
    layout="COCO: `images/`, `annotations/instances_*.json`, one annotation for each connected "
    "object. What a real pair ignores is background.",
    write=write_coco,
    options=(CocoOptions, ObjectOptions),
    check=check_coco,
)

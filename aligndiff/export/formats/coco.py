"""COCO: images/, and annotations/instances_train.json and instances_val.json with RLE masks.

One annotation an image: a mask says where the object is, not how many there are. Category ids
count from 1. What a real pair ignores is background here: COCO has no third value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json
from aligndiff.export.items import ExportItem, Picture, Split
from aligndiff.export.job import Format, Job


def check_coco() -> None:
    """Raise InputError when pycocotools is not installed."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError:
        raise InputError(
            '--format coco needs pycocotools, which is not installed; pip install "pycocotools"'
        ) from None


def write_coco(job: Job) -> None:
    """Write the job's items in COCO's layout."""
    images, suffix = job.make("images"), job.suffix
    numbers = {category: number for number, category in enumerate(job.categories, start=1)}
    content: dict[Split, dict[str, Any]] = {
        split: {
            "info": {"description": "made by AlignDiff; see README.md"},
            "licenses": [],
            "categories": [
                {"id": number, "name": name, "supercategory": ""}
                for name, number in numbers.items()
            ],
            "images": [],
            "annotations": [],
        }
        for split in job.splits
    }

    def write(item: ExportItem, picture: Picture) -> tuple[dict[str, Any], dict[str, Any]]:
        name = f"{item.name}.{suffix}"
        (images / name).write_bytes(picture.image_file(suffix))
        height, width = picture.mask.shape
        return {"file_name": name, "height": height, "width": width}, _shape(picture)

    for number, (item, (image, shape)) in enumerate(job.each(write), start=1):
        ours = content[job.selection.split(item)]
        ours["images"].append({"id": number, **image})
        keys = {"id": number, "image_id": number, "category_id": numbers[item.category]}
        ours["annotations"].append({**keys, **shape, "iscrowd": 0, **item.facts()})
    for split, instances in content.items():
        write_json(job.make("annotations") / f"instances_{split}.json", instances)


def _shape(picture: Picture) -> dict[str, Any]:
    """Segmentation (compressed RLE), area in pixels and bbox [x, y, width, height]."""
    from pycocotools import mask as rle

    encoded = rle.encode(np.asfortranarray(picture.object))
    return {
        "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
        "area": int(rle.area(encoded)),
        "bbox": [float(value) for value in rle.toBbox(encoded)],
    }


COCO = Format(
    name="coco",
    layout="COCO: `images/`, `annotations/instances_*.json` with RLE masks, one annotation an "
    "image. What a real pair ignores is background.",
    write=write_coco,
    check=check_coco,
)

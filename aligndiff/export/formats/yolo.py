"""YOLO segmentation: images/{train,val}/, labels/{train,val}/*.txt of polygons, and data.yaml.

One line for each connected object. YOLO's polygons have no holes: a hole is joined to the
outline by a cut of no width, through the object. A point is the middle of a pixel, divided by width
and height.
"""

from __future__ import annotations

import numpy as np
import yaml

from aligndiff.core.files import write_text
from aligndiff.export.formats.objects import SPECKS, ObjectMask, ObjectOptions, objects_of
from aligndiff.export.formats.polygons import polygons_of
from aligndiff.export.items import ExportItem, Picture
from aligndiff.export.job import ExportJob, Format


def write_yolo(job: ExportJob) -> None:
    """Write the job's items in YOLO's layout; class numbers count from 0."""
    suffix, least = job.suffix, job.options(ObjectOptions).min_object_area
    for kind in ("images", "labels"):
        for split in job.splits:
            job.make(kind, split)
    numbers = {category: number for number, category in enumerate(job.categories)}

    def write(item: ExportItem, picture: Picture) -> int:
        split = job.selection.split(item)
        objects = objects_of(picture.object, least)
        number, size = numbers[item.category], picture.mask.shape
        text = "".join(label_text(part, number, size) for part in objects.masks)
        image = job.folder / "images" / split / f"{item.name}.{suffix}"
        image.write_bytes(picture.image_file(suffix))
        (job.folder / "labels" / split / f"{item.name}.txt").write_text(text, encoding="ascii")
        return objects.specks

    for _, specks in job.each(write):
        job.left_out[SPECKS] += specks
    write_text(job.folder / "data.yaml", _data_yaml(job))


def label_text(part: ObjectMask, number: int, size: tuple[int, int]) -> str:
    """The line of an object in an image of `size` (h, w): class, then x and y of each point."""
    (polygon,) = polygons_of(part.mask)
    # The middle of a pixel: a reader that multiplies and rounds down hits it again.
    points = (polygon + [part.x + 0.5, part.y + 0.5]) / np.array(size[::-1])
    return " ".join([str(number), *(f"{value:.6f}" for value in points.flat)]) + "\n"


def _data_yaml(job: ExportJob) -> str:
    # Nothing kept for validation: readers want a "val" all the same.
    content = {
        "train": "images/train",
        "val": f"images/{job.splits[-1]}",
        "names": dict(enumerate(job.categories)),
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return f"# Paths are relative to this file.\n{text}"


YOLO = Format(
    name="yolo",
    layout="YOLO segmentation: `images/`, `labels/`, `data.yaml`. One polygon for each connected "
    "object; holes are joined to the outline by a cut. What a real pair ignores is background.",
    write=write_yolo,
    options=(ObjectOptions,),
)

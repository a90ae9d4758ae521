"""YOLO segmentation: images/{train,val}/, labels/{train,val}/*.txt of polygons, and data.yaml.

One line a connected part of the object. YOLO's polygons have no holes: a hole is joined to the
outline by a cut of no width, through the object. A point is the middle of a pixel, divided by width
and height.
"""

from __future__ import annotations

import numpy as np

from aligndiff.core.files import write_text
from aligndiff.dataset.images import Uint8
from aligndiff.export.formats.polygons import polygons_of
from aligndiff.export.items import ExportItem, Picture
from aligndiff.export.job import Job
from aligndiff.export.markup import yaml_string


def write_yolo(job: Job) -> None:
    """Write the job's items in YOLO's layout; class numbers count from 0."""
    suffix = job.suffix
    for kind in ("images", "labels"):
        for split in job.splits:
            job.make(kind, split)
    numbers = {category: number for number, category in enumerate(job.categories)}

    def write(item: ExportItem, picture: Picture) -> None:
        split = job.selection.split(item)
        text = label_text(picture.object, numbers[item.category])
        image = job.folder / "images" / split / f"{item.name}.{suffix}"
        image.write_bytes(picture.image_file(suffix))
        (job.folder / "labels" / split / f"{item.name}.txt").write_text(text, encoding="ascii")

    for _ in job.each(write):
        pass
    write_text(job.folder / "data.yaml", _data_yaml(job))


def label_text(mask: Uint8, number: int) -> str:
    """The lines of one image: class number, then x and y of every point in [0, 1]."""
    height, width = mask.shape
    lines = []
    for polygon in polygons_of(mask):
        # The middle of a pixel: a reader that multiplies and rounds down hits it again.
        points = (polygon + 0.5) / np.array([width, height])
        lines.append(" ".join([str(number), *(f"{value:.6f}" for value in points.flat)]) + "\n")
    return "".join(lines)


def _data_yaml(job: Job) -> str:
    lines = ["# Paths are relative to this file.", "train: images/train"]
    if "val" in job.splits:
        lines.append("val: images/val")
    else:
        lines.append("val: images/train  # nothing was kept for validation (--val_fraction)")
    names = [f"  {number}: {yaml_string(name)}" for number, name in enumerate(job.categories)]
    return "\n".join([*lines, "names:", *names]) + "\n"

"""Hugging Face's imagefolder: train/ and validation/ with images/, masks/ and metadata.jsonl.

`datasets` makes the column "image" of `file_name` and "mask" of `mask_file_name`. Masks are grey,
0 and 255.
"""

from __future__ import annotations

import json

from aligndiff.core.files import write_text
from aligndiff.export.items import HUB_SPLITS, ExportItem, Picture, Split
from aligndiff.export.job import ExportJob, Format


def write_imagefolder(job: ExportJob) -> None:
    """Write the job's items as an imagefolder."""
    suffix = job.suffix
    for folder in (HUB_SPLITS[split] for split in job.splits):
        job.make(folder, "images")
        job.make(folder, "masks")

    def write(item: ExportItem, picture: Picture) -> str:
        folder = job.folder / HUB_SPLITS[job.selection.split(item)]
        image, mask = f"images/{item.name}.{suffix}", f"masks/{item.name}.png"
        (folder / image).write_bytes(picture.image_file(suffix))
        (folder / mask).write_bytes(picture.mask_file())
        row = {"file_name": image, "mask_file_name": mask, **item.facts(), "area": picture.area}
        return json.dumps(row, ensure_ascii=False)

    # `datasets` reads the types off the first rows; what has no iou goes last.
    items = sorted(job.selection.items, key=lambda item: item.iou is None)
    rows: dict[Split, list[str]] = {split: [] for split in job.splits}
    for item, row in job.each(write, items):
        rows[job.selection.split(item)].append(row)
    for split, lines in rows.items():
        if lines:  # an empty file is one too many for `datasets`
            path = job.folder / HUB_SPLITS[split] / "metadata.jsonl"
            write_text(path, "".join(f"{line}\n" for line in lines))


IMAGEFOLDER = Format(
    name="imagefolder",
    layout="Hugging Face imagefolder: columns `image`, `mask` (0 and 255), `category` and scores. "
    "What a real pair ignores is background.",
    write=write_imagefolder,
    data_files={split: f"{folder}/**" for split, folder in HUB_SPLITS.items()},
)

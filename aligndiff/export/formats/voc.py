"""Pascal VOC: JPEGImages/, SegmentationClass/ (palette png) and ImageSets/Segmentation/*.txt.

Class indices count from 1 in the order of labels.txt. labelmap.txt tells CVAT and Datumaro the
colours of these names: without it they take VOC's own 20 classes. 255 is void, which counts
nowhere. A pixel is void where a real pair ignores it, and where a synthetic mask is uncertain: near
its border and on the other side of it than the heatmap says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_text
from aligndiff.core.options import Options, option
from aligndiff.dataset.colour_map import colour_map
from aligndiff.dataset.images import IGNORE, encode_palette
from aligndiff.export.items import SPLITS, ExportItem, Picture
from aligndiff.export.job import ExportJob, Format
from aligndiff.export.markup import hashed_slug

BACKGROUND, VOID = "background", "ignored"  # as CVAT and Datumaro name indices 0 and 255
DEVKIT = ("VOCdevkit", "VOC2012")
_MOST_CLASSES = 254  # of the 256 values, 0 is background and 255 void


@dataclass(frozen=True)
class VocOptions(Options):
    """The void rim, and where the files lie."""

    void_width: float = option(
        0.01,
        "pixels this near to the mask's border, as a part of the longer side, become 255 where the "
        "heatmap disagrees; 0 for none",
        0,
        1,
    )
    vocdevkit: bool = option(
        False,
        "put all of it into VOCdevkit/VOC2012, where torchvision and others look below the folder "
        "that they are given",
    )


def write_voc(job: ExportJob) -> None:
    """Write the job's items in VOC's layout."""
    if len(job.categories) > _MOST_CLASSES:
        raise InputError(
            f"--format voc holds at most {_MOST_CLASSES} classes, these are {len(job.categories)}; "
            "choose some with --categories, or another format"
        )
    options = job.options(VocOptions)
    root = DEVKIT if options.vocdevkit else ()
    images, labels = job.make(*root, "JPEGImages"), job.make(*root, "SegmentationClass")
    numbers = {category: number for number, category in enumerate(job.categories, start=1)}
    palette = colour_map()

    def write(item: ExportItem, picture: Picture) -> None:
        indices = picture.object * np.uint8(numbers[item.category])
        indices[picture.mask == IGNORE] = IGNORE
        indices[_void(item, picture, options.void_width)] = IGNORE
        (images / f"{item.name}.jpg").write_bytes(picture.image_file("jpg"))
        (labels / f"{item.name}.png").write_bytes(encode_palette(indices, palette))

    names: dict[str, list[str]] = {split: [] for split in (*SPLITS, "trainval")}
    for item, _ in job.each(write):
        names[job.selection.split(item)].append(item.name)
        names["trainval"].append(item.name)
    for split, listed in names.items():
        text = "".join(f"{name}\n" for name in listed)
        write_text(job.make(*root, "ImageSets", "Segmentation") / f"{split}.txt", text)
    names_of = [BACKGROUND, *job.categories]
    write_text(job.make(*root) / "labels.txt", "".join(f"{name}\n" for name in names_of))
    write_text(job.make(*root) / "labelmap.txt", label_map(job.categories))


def label_map(categories: Sequence[str]) -> str:
    """CVAT's and Datumaro's labelmap.txt: a line `name:r,g,b::` for each index, void among them.

    A name that its grammar cannot hold, or that stands there already, is replaced by letters,
    digits and dashes, as in the name of a folder.
    """
    lines, taken = ["# label:color_rgb:parts:actions"], {BACKGROUND, VOID}
    colours = colour_map()
    for index, name in [(0, BACKGROUND), *enumerate(categories, start=1), (IGNORE, VOID)]:
        if 0 < index < IGNORE and (":" in name or name.startswith("#") or name in taken):
            name = hashed_slug(name)
        lines.append(f"{name}:{','.join(map(str, colours[index]))}::")
    return "".join(f"{line}\n" for line in lines)


def uncertain(
    mask: NDArray[np.bool_], coarse: NDArray[np.bool_], width: float
) -> NDArray[np.bool_]:
    """Where mask and heatmap disagree within `width` pixels of the mask's border; all (h, w).

    The distance of a pixel is that to the centre of the nearest one across the border. A border of
    the image is none of the mask's.
    """
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = np.where(mask, inside, outside) <= width
    return np.asarray(near & (mask != coarse), dtype=np.bool_)


def _void(item: ExportItem, picture: Picture, void_width: float) -> NDArray[np.bool_]:
    mask = picture.object.astype(bool)
    if item.read_coarse is None or void_width == 0:
        return np.zeros_like(mask)
    coarse = item.read_coarse()
    if coarse.shape != mask.shape:
        raise InputError(
            f"{item.name}: its heatmap has another size than its mask; repeat step 3 (--overwrite)"
        )
    return uncertain(mask, coarse, void_width * max(mask.shape))


VOC = Format(
    name="voc",
    layout="Pascal VOC: `JPEGImages/`, `SegmentationClass/` (palette index = line of `labels.txt`, "
    "from 0; colours in `labelmap.txt`), `ImageSets/Segmentation/`. 255 is void: ignored in a real "
    "pair, or, within `void_width` x the longer side of a synthetic mask's border, where the "
    "heatmap disagrees.",
    write=write_voc,
    options=(VocOptions,),
    only_jpg=True,
)

"""LVIS-92i (Matcher, ICLR 2024) as it lies on disk: COCO's photos of 2017, masks of LVIS v1.

<data_dir>/LVIS/coco/train2017, val2017
<data_dir>/LVIS/lvis_val.pkl          Matcher's table of classes, photos and polygons, or else
<data_dir>/LVIS/lvis_v1_val.json      LVIS's own annotations, from which a like table is made
"""

from __future__ import annotations

import logging
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from aligndiff.annotations.formats.coco import segmentation_shapes
from aligndiff.annotations.shapes import draw_mask
from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.dataset.images import Uint8, check_image
from aligndiff.evaluation.benchmarks.fold import (
    Fold,
    check_file,
    check_folders,
    check_photos,
    refuse_lists,
)
from aligndiff.evaluation.benchmarks.lists import read_plain_pickle
from aligndiff.evaluation.episodes import FewShotTest, Item

logger = logging.getLogger(__name__)

TITLE, FOLDS = "LVIS-92i", 10
EPISODES = 2300  # of a fold: 25 of each of its 92 classes
MOST_BYTES = 1024 * 2**20  # LVIS v1's validation annotations have 190 MB

# Class number -> photo below coco/ -> what its objects are outlined by, as in LVIS's annotations.
Outlines = dict[int, dict[str, list[Any]]]


def open_test(fold: Fold) -> FewShotTest:
    """LVIS's validation: of its classes with more than `fold.shot` images every tenth one.

    The masks of all objects of the class in an image are joined. A class is a query in its turn.
    """
    root = fold.data_dir / "LVIS"
    refuse_lists(fold, TITLE, "its annotations")
    check_folders({root / "coco": "COCO's photos of 2017, val2017 and train2017"})
    table, own = root / "lvis_val.pkl", root / "lvis_v1_val.json"
    known = read_outlines(table) if table.exists() else {}
    names: dict[int, str] = {}
    if own.exists() or not known:
        content = read_json(check_file(own, "LVIS v1's annotations"), MOST_BYTES)
        names = _read(own, partial(_class_names, content))
        known = known or _read(own, partial(outlines_of, content))
    usable = [number for number, photos in known.items() if len(photos) > fold.shot]
    if not table.exists():
        logger.warning(
            "note: the folds are those of Matcher if its %s is there; made from %s: %d classes "
            "with more than %d images, in the order of their numbers",
            *(table, own, len(usable), fold.shot),
        )
    kept = usable[fold.number : len(usable) // FOLDS * FOLDS : FOLDS]
    source = table if table.exists() else own
    outlines = {number: known[number] for number in kept}
    items = {
        names.get(number, f"class {number}"): tuple(
            Item(root / "coco" / photo, source, number) for photo in photos
        )
        for number, photos in outlines.items()
    }
    check_photos(items, str(source))
    read = partial(_read_mask, outlines, root / "coco")
    title = f"{TITLE}, fold {fold.number}"
    return FewShotTest(title, items, read, "class by class", usual_episodes=EPISODES)


def read_outlines(path: Path) -> Outlines:
    """Matcher's table, in its order; none of the pickle's code is run."""
    content = read_plain_pickle(path, MOST_BYTES, blanks=True)

    def outlines() -> Outlines:
        return {
            int(number): {
                str(photo): [one["segmentation"] for one in shown["annotations"]]
                for photo, shown in photos.items()
            }
            for number, photos in content.items()
        }

    return _read(path, outlines)


def outlines_of(content: Any) -> Outlines:
    """The same from LVIS's own annotations, classes by their number, photos by theirs."""
    # A photo of LVIS's validation may be one of COCO's training: its address says which.
    photos = {
        photo["id"]: "/".join(str(photo["coco_url"]).split("/")[-2:]) for photo in content["images"]
    }
    table: dict[int, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for one in sorted(content["annotations"], key=lambda each: each["image_id"]):
        table[one["category_id"]][photos[one["image_id"]]].append(one["segmentation"])
    return {number: dict(table[number]) for number in sorted(table)}


def _class_names(content: Any) -> dict[int, str]:
    return {one["id"]: str(one["name"]) for one in content["categories"]}


def _read(path: Path, read: Any) -> Any:
    try:
        return read()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"holds no annotations of LVIS ({type(error).__name__}: {error})"
        raise InputError(f"{path}: {problem}; put the file of docs/EVALUATE.md there") from None


def _read_mask(outlines: Outlines, photos: Path, item: Item) -> Uint8:
    """All objects of the item's class, uint8 (h, w) of 0 and 1."""
    name = item.image.relative_to(photos).as_posix()
    shapes = [
        shape
        for segmentation in outlines[item.label][name]
        for shape in segmentation_shapes(segmentation)
    ]
    return draw_mask(shapes, [], check_image(item.image))

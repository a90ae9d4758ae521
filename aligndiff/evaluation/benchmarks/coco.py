"""COCO-20i as it lies on disk, in the layout of HSNet's README.

<data_dir>/COCO2014/val2014/COCO_val2014_<id>.jpg, annotations/val2014/COCO_val2014_<id>.png
<data_dir>/splits/coco/val/fold0.pkl     lists of test images
"""

from __future__ import annotations

from functools import partial

from aligndiff.evaluation.benchmarks.fold import (
    Fold,
    check_folders,
    find_list,
    items_by_class,
    read_class,
)
from aligndiff.evaluation.benchmarks.lists import Listed, images_that_show
from aligndiff.evaluation.episodes import FewShotTest

TITLE, FOLDS = "COCO-20i", 4
CLASSES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,"
    "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")


def labels_of(fold: int) -> range:
    """The class numbers, counted from 1, that a fold tests on: every fourth one."""
    return range(fold + 1, len(CLASSES) + 1, FOLDS)


def open_test(fold: Fold) -> FewShotTest:
    """The images of val2014 and their masks of class numbers from 1 to 80.

    As in HSNet 255 has no meaning of its own here. Without a list of the fold one is made from
    the masks.
    """
    root = fold.data_dir / "COCO2014"
    masks = root / "annotations"
    check_folders(
        {
            root / "val2014": "the photos (COCO_val2014_000000000042.jpg)",
            masks / "val2014": "the masks of class numbers (COCO_val2014_000000000042.png)",
        }
    )
    labels = labels_of(fold.number)
    listed = find_list(fold, f"coco/val/fold{fold.number}", labels)
    made: list[Listed] = []
    if listed is None:
        files = sorted((masks / "val2014").glob("*.png"))
        made = images_that_show(labels, [(f"val2014/{path.stem}", path) for path in files])
    items = items_by_class(listed or made, labels, CLASSES, root, masks)
    read = partial(read_class, ignore=False)
    title = f"{TITLE}, fold {fold.number}"
    return FewShotTest(title, items, read, "by class", made_list=tuple(map(str, made)))

"""PASCAL-5i as it lies on disk, in the layout of HSNet's README.

<data_dir>/VOC2012/JPEGImages/2007_000033.jpg, SegmentationClassAug/2007_000033.png
<data_dir>/splits/pascal/val/fold0.txt     lists of test images
"""

from __future__ import annotations

from functools import partial

from aligndiff.evaluation.benchmarks.fold import (
    Fold,
    check_folders,
    find_list,
    items_by_class,
    names_in,
    read_class,
)
from aligndiff.evaluation.benchmarks.lists import Listed, images_that_show
from aligndiff.evaluation.episodes import FewShotTest

TITLE, FOLDS = "PASCAL-5i", 4
CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()


def labels_of(fold: int) -> range:
    """The class numbers, counted from 1, that a fold tests on: five in a row."""
    return range(5 * fold + 1, 5 * fold + 6)


def open_test(fold: Fold) -> FewShotTest:
    """VOC 2012's validation images, masks of SegmentationClassAug (255 is ignored).

    Without a list of the fold one is made from ImageSets/Segmentation/val.txt and the masks.
    """
    root = fold.data_dir / "VOC2012"
    photos, masks = root / "JPEGImages", root / "SegmentationClassAug"
    check_folders(
        {
            photos: "the photos of VOC 2012 (2007_000033.jpg)",
            masks: "the extended masks (2007_000033.png), class numbers with 255 for ignore",
        }
    )
    labels = labels_of(fold.number)
    listed = find_list(fold, f"pascal/val/fold{fold.number}", labels)
    made: list[Listed] = []
    if listed is None:
        path = root / "ImageSets" / "Segmentation" / "val.txt"
        names = names_in(path, "the names of VOC 2012's validation images")
        made = images_that_show(labels, [(name, masks / f"{name}.png") for name in names])
    items = items_by_class(listed or made, labels, CLASSES, photos, masks)
    read = partial(read_class, ignore=True)
    return FewShotTest(f"{TITLE}, fold {fold.number}", items, read, made_list=tuple(map(str, made)))

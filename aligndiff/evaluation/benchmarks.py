"""PASCAL-5i, COCO-20i and FSS-1000 as they lie on disk, in the layout of HSNet's README.

<data_dir>/VOC2012/JPEGImages/2007_000033.jpg, SegmentationClassAug/2007_000033.png
<data_dir>/COCO2014/val2014/COCO_val2014_<id>.jpg, annotations/val2014/COCO_val2014_<id>.png
<data_dir>/FSS-1000/<class>/1.jpg, 1.png
<data_dir>/splits/pascal/val/fold0.txt, coco/val/fold0.pkl, fss/test.txt     lists of test images
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8, read_grey, read_labels
from aligndiff.dataset.support import find_pairs
from aligndiff.evaluation.episodes import FewShotTest, Item, class_mask
from aligndiff.evaluation.fold_lists import (
    Listed,
    images_that_show,
    read_list,
    read_names,
    read_pickled_list,
)

Benchmark = Literal["pascal", "coco", "fss"]

FOLDS = 4
PASCAL_CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()
COCO_CLASSES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,"
    "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")
_HALF = 128  # grey level from which a mask of FSS-1000 means the object


def pascal_labels(fold: int) -> range:
    """The class numbers, counted from 1, that a fold of PASCAL-5i tests on: five in a row."""
    return range(5 * fold + 1, 5 * fold + 6)


def coco_labels(fold: int) -> range:
    """The class numbers, counted from 1, that a fold of COCO-20i tests on: every fourth one."""
    return range(fold + 1, len(COCO_CLASSES) + 1, FOLDS)


def open_pascal(data_dir: Path, fold: int, splits_dir: Path | None = None) -> FewShotTest:
    """PASCAL-5i: VOC 2012's validation images, masks of SegmentationClassAug (255 is ignored).

    Without a list of the fold one is made from ImageSets/Segmentation/val.txt and the masks.
    """
    root = data_dir / "VOC2012"
    photos, masks = root / "JPEGImages", root / "SegmentationClassAug"
    _check_folders(
        {
            photos: "the photos of VOC 2012 (2007_000033.jpg)",
            masks: "the extended masks (2007_000033.png), class numbers with 255 for ignore",
        }
    )
    labels = pascal_labels(fold)
    listed = _find_list(data_dir, splits_dir, f"pascal/val/fold{fold}", labels)
    made: list[Listed] = []
    if listed is None:
        path = root / "ImageSets" / "Segmentation" / "val.txt"
        names = _read_wanted(path, "the names of VOC 2012's validation images")
        made = images_that_show(labels, [(name, masks / f"{name}.png") for name in names])
    items = _items_by_class(listed or made, labels, PASCAL_CLASSES, photos, masks)
    read = partial(_read_class, ignore=True)
    title = f"PASCAL-5i, fold {fold}"
    return FewShotTest(title, items, read, made_list=tuple(map(str, made)))


def open_coco(data_dir: Path, fold: int, splits_dir: Path | None = None) -> FewShotTest:
    """COCO-20i: the images of val2014 and their masks of class numbers from 1 to 80.

    As in HSNet 255 has no meaning of its own here. Without a list of the fold one is made from
    the masks.
    """
    root = data_dir / "COCO2014"
    masks = root / "annotations"
    _check_folders(
        {
            root / "val2014": "the photos (COCO_val2014_000000000042.jpg)",
            masks / "val2014": "the masks of class numbers (COCO_val2014_000000000042.png)",
        }
    )
    labels = coco_labels(fold)
    listed = _find_list(data_dir, splits_dir, f"coco/val/fold{fold}", labels)
    made: list[Listed] = []
    if listed is None:
        files = sorted((masks / "val2014").glob("*.png"))
        made = images_that_show(labels, [(f"val2014/{path.stem}", path) for path in files])
    items = _items_by_class(listed or made, labels, COCO_CLASSES, root, masks)
    read = partial(_read_class, ignore=False)
    title = f"COCO-20i, fold {fold}"
    return FewShotTest(title, items, read, "by class", made_list=tuple(map(str, made)))


def open_fss(data_dir: Path, fold: int = 0, splits_dir: Path | None = None) -> FewShotTest:
    """FSS-1000: the classes of its test list, ten images each, every one of them a query once.

    It has no folds; `fold` must be 0.
    """
    if fold != 0:
        raise InputError(f"--fold {fold}: FSS-1000 has one test split and no folds; leave it out")
    root = data_dir / "FSS-1000"
    _check_folders({root: "a folder for each class (abacus/1.jpg, 1.png)"})
    path = (splits_dir or data_dir / "splits") / "fss" / "test.txt"
    categories = sorted(_read_wanted(path, "the names of the 240 test classes"))
    items: dict[str, tuple[Item, ...]] = {}
    problems: list[str] = []
    for category in categories:
        try:
            pairs = find_pairs(root / category)
        except InputError as error:
            problems += error.problems
            continue
        items[category] = tuple(Item(pair.image, pair.mask, 1) for pair in pairs)
    if problems:
        raise InputError(problems)
    count = sum(map(len, items.values()))
    return FewShotTest("FSS-1000", items, _read_fss, usual_episodes=count)


BENCHMARKS: Mapping[Benchmark, Callable[[Path, int, Path | None], FewShotTest]] = {
    "pascal": open_pascal,
    "coco": open_coco,
    "fss": open_fss,
}


def _read_class(item: Item, ignore: bool) -> Uint8:
    return class_mask(read_labels(item.mask), item.label, ignore)


def _read_fss(item: Item) -> Uint8:
    return (read_grey(item.mask) >= _HALF).astype("uint8")


def _check_folders(folders: Mapping[Path, str]) -> None:
    problems = [
        f"{folder}: no such folder; it holds {what}, docs/EVALUATE.md says where they come from"
        for folder, what in folders.items()
        if not folder.is_dir()
    ]
    if problems:
        raise InputError(problems)


def _read_wanted(path: Path, what: str) -> list[str]:
    if not path.exists():
        source = "docs/EVALUATE.md says where they come from"
        raise InputError(f"{path}: no such file; it holds {what}, {source}")
    return read_names(path)


def _find_list(
    data_dir: Path, splits_dir: Path | None, name: str, labels: Sequence[int]
) -> list[Listed] | None:
    """The list of a fold's test images; None when there is none and none was promised."""
    splits = splits_dir or data_dir / "splits"
    plain, pickled = splits / f"{name}.txt", splits / f"{name}.pkl"
    if plain.exists():
        return read_list(plain, labels)
    if pickled.exists():
        return read_pickled_list(pickled, labels)
    if splits_dir is not None:
        what = "no such list; --splits_dir is a folder like HSNet's data/splits"
        raise InputError(f"{plain}: {what}; without it a list is made from the masks")
    return None


def _items_by_class(
    listed: Sequence[Listed], labels: Sequence[int], names: Sequence[str], photos: Path, masks: Path
) -> dict[str, tuple[Item, ...]]:
    """The items of each class. InputError names every file that is not there."""
    items: dict[str, list[Item]] = {names[label - 1]: [] for label in labels}
    missing: dict[Path, str] = {}
    for entry in dict.fromkeys(listed):  # a line that is there twice counts once
        item = Item(photos / f"{entry.name}.jpg", masks / f"{entry.name}.png", entry.label)
        for path in (item.image, item.mask):
            if not path.is_file():
                missing[path] = f"{path}: no such file, but the list of the fold names it; add it"
        items[names[entry.label - 1]].append(item)
    if missing:
        raise InputError(list(missing.values()))
    return {category: tuple(of_class) for category, of_class in items.items()}

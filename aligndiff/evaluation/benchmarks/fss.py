"""FSS-1000 as it lies on disk, in the layout of HSNet's README.

<data_dir>/FSS-1000/<class>/1.jpg, 1.png
<data_dir>/splits/fss/test.txt     the test classes
"""

from __future__ import annotations

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8, read_grey
from aligndiff.dataset.support import find_pairs
from aligndiff.evaluation.benchmarks.fold import Fold, check_folders, names_in
from aligndiff.evaluation.episodes import FewShotTest, Item

TITLE, FOLDS = "FSS-1000", 1
_HALF = 128  # grey level from which a mask means the object


def open_test(fold: Fold) -> FewShotTest:
    """The classes of its test list, ten images each, every one of them a query once."""
    root = fold.data_dir / "FSS-1000"
    check_folders({root: "a folder for each class (abacus/1.jpg, 1.png)"})
    path = fold.splits / "fss" / "test.txt"
    categories = sorted(names_in(path, "the names of the 240 test classes"))
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
    return FewShotTest(TITLE, items, _read_mask, usual_episodes=count)


def _read_mask(item: Item) -> Uint8:
    return (read_grey(item.mask) >= _HALF).astype("uint8")

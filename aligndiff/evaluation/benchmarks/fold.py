"""Which fold of a benchmark is asked for, and what its layouts on disk have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8, read_labels
from aligndiff.evaluation.benchmarks.lists import (
    Listed,
    read_list,
    read_names,
    read_pickled_list,
)
from aligndiff.evaluation.episodes import Item, class_mask

_SOURCE = "docs/EVALUATE.md says where they come from"


@dataclass(frozen=True)
class Fold:
    """A fold of a benchmark in a folder.

    Attributes:
        data_dir: holds the benchmark's own folder.
        number: counted from 0.
        shot: support images of an episode; some classes have too few.
        splits_dir: lists of test images; None: `data_dir`/splits, if there is any.
    """

    data_dir: Path
    number: int = 0
    shot: int = 1
    splits_dir: Path | None = None

    @property
    def splits(self) -> Path:
        return self.splits_dir or self.data_dir / "splits"


def check_folders(folders: Mapping[Path, str]) -> None:
    """InputError names every folder that is not there, and what it holds."""
    problems = [
        f"{folder}: no such folder; it holds {what}, {_SOURCE}"
        for folder, what in folders.items()
        if not folder.is_dir()
    ]
    if problems:
        raise InputError(problems)


def check_file(path: Path, what: str) -> Path:
    """The path of a file that is there; else InputError says what it holds."""
    if not path.exists():
        raise InputError(f"{path}: no such file; it holds {what}, {_SOURCE}")
    return path


def check_photos(items: Mapping[str, Sequence[Item]], named_by: str) -> None:
    """InputError names every photo that is not there."""
    photos = dict.fromkeys(item.image for of_class in items.values() for item in of_class)
    missing = [
        f"{photo}: no such file, but {named_by} names it; add it"
        for photo in photos
        if not photo.is_file()
    ]
    if missing:
        raise InputError(missing)


def refuse_lists(fold: Fold, title: str, source: str) -> None:
    """InputError where lists of test images are named and the benchmark has none."""
    if fold.splits_dir is not None:
        raise InputError(f"--splits_dir: {title} takes its folds from {source}; leave it out")


def names_in(path: Path, what: str) -> list[str]:
    """The lines of a list that the benchmark cannot do without."""
    return read_names(check_file(path, what))


def find_list(fold: Fold, name: str, labels: Sequence[int]) -> list[Listed] | None:
    """The list of a fold's test images; None when there is none and none was promised."""
    plain, pickled = fold.splits / f"{name}.txt", fold.splits / f"{name}.pkl"
    if plain.exists():
        return read_list(plain, labels)
    if pickled.exists():
        return read_pickled_list(pickled, labels)
    if fold.splits_dir is not None:
        what = "no such list; --splits_dir is a folder like HSNet's data/splits"
        raise InputError(f"{plain}: {what}; without it a list is made from the masks")
    return None


def items_by_class(
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


def read_class(item: Item, ignore: bool) -> Uint8:
    """The truth of an item whose mask file holds class numbers, see `class_mask`."""
    return class_mask(read_labels(item.mask), item.label, ignore)

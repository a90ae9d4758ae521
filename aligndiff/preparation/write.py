"""The pairs of a source, drawn, checked and put into the dataset folder: all of them or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from aligndiff.annotations.shapes import MaskFile, check_size, draw_mask
from aligndiff.annotations.source import SourcePair, SourceTree
from aligndiff.core.errors import InputError, printable
from aligndiff.core.files import file_fingerprint, read_input, write_bytes
from aligndiff.dataset.colour_map import VOID_COLOUR
from aligndiff.dataset.images import (
    BACKGROUND,
    IGNORE,
    OBJECT,
    Photo,
    Uint8,
    encode_palette,
    read_photo,
    write_mask,
)
from aligndiff.dataset.mask_checks import shape_notes, turn_notes
from aligndiff.dataset.masks import MaskReading, read_mask
from aligndiff.dataset.support import MASK_MARK, SUFFIXES

_STAGING = ".prepare_dataset.tmp"
_MOST_BYTES = 512 * 2**20  # of a photo, as when it is read


@dataclass
class PairCounts:
    """What came of the pairs of a category."""

    new: int = 0
    kept: int = 0  # there already
    empty: int = 0  # the mask marks nothing
    bad: int = 0


@dataclass
class Outcome:
    """What came of all of them: counts by category, problems, notes, a line each."""

    tallies: dict[str, PairCounts] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    looks: list[tuple[Path, str]] = field(default_factory=list)  # odd ones, each with its file

    def tally(self, category: str) -> PairCounts:
        return self.tallies.setdefault(category, PairCounts())


class Photos:
    """Reads the photos of a source; the last one is kept for its other categories."""

    def __init__(self, tree: SourceTree) -> None:
        self.tree = tree
        self._last: tuple[str, Photo] | None = None

    def read(self, name: str) -> Photo:
        if self._last is None or self._last[0] != name:
            self._last = None  # before the next one takes memory
            self._last = name, read_photo(self.tree.path(name))
        return self._last[1]


def checked_mask(pair: SourcePair, photos: Photos) -> Uint8 | None:
    """The mask of a pair, uint8 (h, w), 0, 1, 255; None when it marks nothing.

    InputError names the photo and the file that the shapes come from.
    """
    image = photos.read(pair.photo).image
    size = image.shape[0], image.shape[1]
    try:
        check_size(pair.size, size)
        mask = draw_mask(pair.shapes, pair.ignored, size)
        if (mask == OBJECT).any() and not (mask == BACKGROUND).any():
            raise InputError("the mask covers the whole photo; leave some background")
    except InputError as error:
        lines = [_named(problem, pair, photos.tree) for problem in error.problems]
        raise InputError(lines) from None
    return mask if (mask == OBJECT).any() else None


def _named(problem: str, pair: SourcePair, tree: SourceTree) -> str:
    if problem.startswith(str(tree.root)):  # of a mask file, which names itself
        return problem
    where = f" ({pair.origin})" if pair.origin else ""
    return f"{pair.photo}{where}: {problem}"


class Writer:
    """Puts pairs into the staging folder of a dataset folder, beside what is there."""

    def __init__(self, tree: SourceTree, dataset_dir: Path, staging: Path) -> None:
        self.tree, self.dataset_dir, self.staging = tree, dataset_dir, staging
        self._there: dict[Path, dict[int, list[Path]]] = {}  # photos by folder and bytes
        self._names: dict[Path, set[str]] = {}

    def add(self, pair: SourcePair, folder: str, mask: Uint8, outcome: Outcome, name: str) -> None:
        """Stage a pair, unless its photo is there; then a mask that differs is told."""
        source, target = self.tree.path(pair.photo), self.dataset_dir / folder
        if source.suffix.lower() not in SUFFIXES:
            kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
            raise InputError(f"{pair.photo}: the steps read {kinds}; convert it to jpg")
        self._look_into(target)
        if (same := self._same_photo(source, target)) is not None:
            outcome.tally(name).kept += 1
            if self._mask_differs(same, mask):
                outcome.notes.append(f"{pair.photo}: {self._kept(same)}")
            return
        self._put(source, folder, mask)
        outcome.tally(name).new += 1

    def _put(self, source: Path, folder: str, mask: Uint8) -> None:
        target = self.dataset_dir / folder
        stem = self._free_stem(source, target)
        photo = self.staging / folder / f"{stem}{source.suffix}"
        photo.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(photo, read_input(source, _MOST_BYTES))
        write_clean_mask(photo.with_name(mask_name(photo.name)), mask)
        self._there[target].setdefault(source.stat().st_size, []).append(photo)

    def find(self, photo: str, folder: str) -> Path | None:
        """Where the photo, a file of the tree, lies in the folder by now; None if nowhere."""
        target = self.dataset_dir / folder
        self._look_into(target)
        return self._same_photo(self.tree.path(photo), target)

    def put(self, photo: str, folder: str, mask: Uint8) -> None:
        """Put a pair into the folder; if the photo is there, its mask is replaced."""
        if (there := self.find(photo, folder)) is None:
            self._put(self.tree.path(photo), folder, mask)
        else:
            write_clean_mask(there.with_name(mask_name(there.name)), mask)

    def _kept(self, photo: Path) -> str:
        if self.staging in photo.parents:
            return f"the same photo as {photo.name}, with another mask, which is left out"
        what = "is there with another mask, which is kept"
        return f"{photo} {what}; remove it and its mask to take SOURCE's"

    def _look_into(self, target: Path) -> None:
        if target in self._there:
            return
        self._there[target], self._names[target] = {}, set()
        for path in sorted(target.iterdir()) if target.is_dir() else []:
            self._names[target].add(path.stem.casefold())
            if path.suffix.lower() in SUFFIXES and path.is_file():
                self._there[target].setdefault(path.stat().st_size, []).append(path)

    def _same_photo(self, source: Path, target: Path) -> Path | None:
        """The photo in the folder that holds the same bytes."""
        candidates = self._there[target].get(source.stat().st_size, [])
        if not candidates:
            return None
        ours = file_fingerprint(source)
        return next((path for path in candidates if file_fingerprint(path) == ours), None)

    def _mask_differs(self, photo: Path, mask: Uint8) -> bool:
        path = photo.with_name(mask_name(photo.name))
        if not path.exists():
            return False  # a user's pair, of another name
        there = read_mask(path)
        return there.shape != mask.shape or bool((there != mask).any())

    def _free_stem(self, source: Path, target: Path) -> str:
        """The photo's own stem, made fit to print, with a number where it is taken."""
        base = printable(source.stem).replace("\\", "_").lstrip(".") or "photo"
        taken = self._names[target]
        number, stem = 1, base
        while {stem.casefold(), f"{stem}{MASK_MARK}".casefold()} & taken:
            number += 1
            stem = f"{base}_{number}"
        taken.add(stem.casefold())
        return stem


def mask_name(photo: str) -> str:
    """The file name of a photo's mask: 1.jpg has 1.png, and 1.png has 1_mask.png."""
    path = PurePosixPath(photo)
    return f"{path.stem}{MASK_MARK}.png" if path.suffix.lower() == ".png" else f"{path.stem}.png"


def write_clean_mask(path: Path, mask: Uint8) -> None:
    """Write uint8 (h, w) of 0, 1, 255 as black and white, and 255 in VOC's pale yellow."""
    if not (mask == IGNORE).any():
        write_mask(path, mask == OBJECT)
        return
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[OBJECT], palette[IGNORE] = 255, VOID_COLOUR
    write_bytes(path, encode_palette(mask, palette))


@contextmanager
def staged(dataset_dir: Path) -> Iterator[Path]:
    """Yield an empty folder; its files move to the same places of `dataset_dir` on success.

    On an error nothing is left, not even a dataset folder that was not there before.
    """
    new = [folder for folder in (dataset_dir, *dataset_dir.parents) if not folder.exists()]
    staging = dataset_dir / _STAGING
    try:
        dataset_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        staging.mkdir()
        yield staging
        for path in sorted(staging.rglob("*")):
            if path.is_file():
                target = dataset_dir / path.relative_to(staging)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for folder in new:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def draw_all(
    pairs: Sequence[SourcePair],
    names: dict[str, str],
    photos: Photos,
    outcome: Outcome,
    most: int | None,
    use: Callable[[SourcePair, Uint8, str], None],
    advance: Callable[[], None],
) -> None:
    """Draw each pair and hand it to `use`; what cannot be drawn is counted and told."""
    for pair in pairs:
        advance()
        name = names[pair.category]
        tally = outcome.tally(name)
        if most is not None and tally.new + tally.kept >= most:
            continue
        try:
            mask = checked_mask(pair, photos)
            if mask is None:
                tally.empty += 1
            else:
                outcome.looks += _looks(pair, mask, photos)
                use(pair, mask, name)
        except InputError as error:
            tally.bad += 1
            outcome.problems += error.problems


def _looks(pair: SourcePair, mask: Uint8, photos: Photos) -> list[tuple[Path, str]]:
    """What looks odd about a photo and about the mask that was drawn, each with its file."""
    tree, photo = photos.tree, photos.read(pair.photo)
    from_file = any(isinstance(shape, MaskFile) for shape in pair.shapes)
    chosen = tree.masks.mask_class is not None or not from_file
    words = (*shape_notes(mask, chosen), *turn_notes(photo, MaskReading(mask)))
    origin = tree.path(pair.origin or pair.photo)
    return [(tree.path(pair.photo), note) for note in photo.notes] + [(origin, w) for w in words]

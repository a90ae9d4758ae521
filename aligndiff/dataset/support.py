"""Support pairs: the few real images of an object with their masks, paired by file stem."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint
from aligndiff.dataset.hints import hint_for_lone_file, hint_for_no_pairs
from aligndiff.dataset.images import (
    BACKGROUND,
    IGNORE,
    OBJECT,
    Uint8,
    read_photo,
    resize_image,
    resize_mask,
)
from aligndiff.dataset.mask_checks import grouped, turn_notes
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.masks import interpret_mask
from aligndiff.dataset.pairing import which_is_mask
from aligndiff.dataset.raster import picture_size

# In any case; what is in a file is judged by its content.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".hif"),
    *(".tif", ".tiff", ".bmp", ".gif", ".jp2", ".pgm", ".ppm", ".pbm", ".pnm"),
)
SUPPORT_SIDE = 1024  # px; to show a pair on a sheet, more is of no use
MASK_MARK = "_mask"  # ends the stem of a mask that may not have its photo's name
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class PairPaths:
    """The two files of a support pair.

    Attributes:
        name: their common stem.
        image, mask: the files.
        mask_class: which class of the mask file is the object; None where there is but one.
    """

    name: str
    image: Path
    mask: Path
    mask_class: MaskClass | None = None


@dataclass(frozen=True)
class SupportPair:
    """A real image and its mask.

    Attributes:
        name: the stem of both files.
        image: uint8 RGB (h, w, 3), upright.
        mask: uint8 (h, w): 0 background, 1 object, 255 ignore (counts nowhere).
    """

    name: str
    image: Uint8
    mask: Uint8


def is_named_as_image(path: Path) -> bool:
    """Whether a support folder's file counts: by its suffix, unless it is hidden."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


@dataclass(frozen=True)
class SupportReport:
    """What is wrong with the pairs of a folder, and what looks odd: a line each."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def find_pairs(folder: str | Path, mask_class: MaskClass | None = None) -> list[PairPaths]:
    """The support pairs of a folder, in natural order of their stems (2 before 10).

    Sub-folders, hidden files and files not named as images are ignored. InputError holds every
    problem: unpaired files, three files of one stem, two files of which neither is the mask.
    """
    pairs, problems = _find_pairs(Path(folder), mask_class)
    if problems:
        raise InputError(problems)
    return pairs


def load_pair(paths: PairPaths) -> SupportPair:
    """Read a pair. InputError when it cannot be used: sizes differ, no object, no background."""
    return _load(paths)[0]


def load_support(
    folder: str | Path, mask_class: MaskClass | None = None, side: int | None = None
) -> list[SupportPair]:
    """Read all pairs of a folder; InputError holds the problems of all of them.

    `side`: each is reduced by `reduce_pair` as it is read, so that large photos need no memory.
    """
    pairs, problems = _find_pairs(Path(folder), mask_class)
    loaded = []
    for paths in pairs:
        try:
            pair = load_pair(paths)
            loaded.append(pair if side is None else reduce_pair(pair, side))
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return loaded


def check_support(folder: str | Path, mask_class: MaskClass | None = None) -> list[str]:
    """Every problem of a folder of pairs; empty when good."""
    return list(inspect_support(folder, mask_class).problems)


def inspect_support(folder: str | Path, mask_class: MaskClass | None = None) -> SupportReport:
    """Read every pair of a folder, one at a time, for what is wrong or looks odd about it."""
    pairs, problems = _find_pairs(Path(folder), mask_class)
    notes: list[tuple[Path, str]] = []
    for paths in pairs:
        try:
            notes += _load(paths)[1]
        except InputError as error:
            problems.extend(error.problems)
    return SupportReport(tuple(problems), tuple(grouped(notes)))


def all_square(folder: str | Path, mask_class: MaskClass | None = None) -> bool:
    """Whether the photos of all pairs are square, by their headers."""
    sizes = [picture_size(pair.image) for pair in find_pairs(folder, mask_class)]
    return all(height == width for height, width in sizes)


def support_fingerprint(folder: str | Path, mask_class: MaskClass | None = None) -> str:
    """16 hex digits over names, bytes and class of all pairs: changes when any of them does."""
    pairs: list[object] = [
        [pair.name, file_fingerprint(pair.image), file_fingerprint(pair.mask)]
        for pair in find_pairs(folder, mask_class)
    ]
    return fingerprint(pairs if mask_class is None else [*pairs, {"mask_class": mask_class}])


def _load(paths: PairPaths) -> tuple[SupportPair, list[tuple[Path, str]]]:
    """The pair, and what looks odd about its files."""
    problems: list[str] = []
    photo = _read(read_photo, paths.image, problems)
    reading = _read(lambda path: interpret_mask(path, paths.mask_class), paths.mask, problems)
    if photo is not None and reading is not None and photo.image.shape[:2] != reading.mask.shape:
        problems.append(_sizes_differ(paths, photo.image.shape[:2], reading.mask.shape))
    if reading is not None:
        problems += _check_values(paths.mask, reading.mask)
    if problems or photo is None or reading is None:
        raise InputError(problems)
    notes = [(paths.image, note) for note in photo.notes]
    notes += [(paths.mask, note) for note in (*reading.notes, *turn_notes(photo, reading))]
    return SupportPair(paths.name, photo.image, reading.mask), notes


def _read(read: Callable[[Path], _Read], path: Path, problems: list[str]) -> _Read | None:
    try:
        return read(path)
    except InputError as error:
        problems.extend(error.problems)
        return None


def _sizes_differ(paths: PairPaths, size: tuple[int, ...], mask_size: tuple[int, ...]) -> str:
    sizes = (
        f"is {mask_size[1]} x {mask_size[0]} px, its image {paths.image.name} {size[1]} x {size[0]}"
    )
    problem = f"{paths.mask}: {sizes}; a mask must have its image's width and height"
    if mask_size == size[::-1]:
        problem += " (is one of them rotated by its EXIF orientation?)"
    return problem


def _check_values(path: Path, mask: Uint8) -> list[str]:
    if not (mask == OBJECT).any():
        if (mask == IGNORE).any():
            what = "only background and what is ignored (255, void, the middle of a trimap)"
            return [f"{path}: has no object, {what}; correct mask_class, or remove the pair"]
        return [f"{path}: is empty; mark the object with 1 or 255, or remove the pair"]
    if not (mask == BACKGROUND).any():
        return [f"{path}: is all object; leave the background 0, or remove the pair"]
    return []


def _find_pairs(folder: Path, mask_class: MaskClass | None) -> tuple[list[PairPaths], list[str]]:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        return [], [f"{folder}: {what}; give a folder of support pairs (1.jpg + 1.png)"]
    groups: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if is_named_as_image(path):
            # macOS spells accents in two characters, other systems in one.
            stem = unicodedata.normalize("NFC", path.stem)
            groups.setdefault(stem, []).append(path)
    _join_named_masks(groups)
    if not groups:
        problem = f"{folder}: has no support pairs; put images and masks of the same name in it"
        remedy = hint_for_no_pairs(folder) or "docs/FORMAT.md lists the formats"
        return [], [f"{problem} (1.jpg + 1.png; {remedy})"]
    pairs: list[PairPaths] = []
    problems: list[str] = []
    for stem in sorted(groups, key=natural_order):
        if all(path.is_dir() for path in groups[stem]):
            continue
        try:
            pairs.append(_pair(stem, sorted(groups[stem]), mask_class))
        except InputError as error:
            problems.extend(error.problems)
    return pairs, problems


def _join_named_masks(groups: dict[str, list[Path]]) -> None:
    """Put 1_mask.png to 1.png, which leaves no room for a 1.png of its own; in place."""
    for stem in [name for name in groups if name.endswith(MASK_MARK)]:
        photo = groups.get(stem.removesuffix(MASK_MARK), [])
        if len(photo) == len(groups[stem]) == 1 and groups[stem][0].suffix.lower() == ".png":
            photo += groups.pop(stem)


def _pair(stem: str, files: list[Path], mask_class: MaskClass | None) -> PairPaths:
    folder = files[0].parent
    for path in files:
        if not path.is_file():  # opening a pipe would wait for ever
            what = "is a folder, a pipe or a broken link, not a file"
            raise InputError(f"{path}: {what}; put the file in its place, or rename it")
    if len(files) == 1:
        partner = f"{stem}.jpg" if files[0].suffix.lower() == ".png" else f"{stem}.png"
        what = "image or mask" if files[0].suffix.lower() == ".png" else "mask"
        remedy = hint_for_lone_file(files[0]) or f"add {partner} or remove the file"
        raise InputError(f"{files[0]}: has no {what} beside it; {remedy}")
    if len(files) > 2:
        names = ", ".join(path.name for path in files)
        problem = f"{folder / stem}: {len(files)} files of one name ({names})"
        raise InputError(f"{problem}; keep the image and its mask, remove the rest")
    marked = [path for path in files if len(path.stem) >= len(stem) + len(MASK_MARK)]
    mask = marked[0] if marked else which_is_mask(files[0], files[1], mask_class)
    image = files[0] if mask == files[1] else files[1]
    return PairPaths(stem, image, mask, mask_class)


def natural_order(stem: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key by which 2 comes before 10."""
    parts = re.findall(r"\d+|\D+", stem)
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts]
    return key, stem


def reduce_pair(pair: SupportPair, side: int) -> SupportPair:
    """The pair with its longer side reduced to `side` pixels; smaller pairs stay as they are.

    So does a pair whose object or background is too small to survive the reduction.
    """
    height, width = pair.mask.shape
    longer = max(height, width)
    if longer <= side:
        return pair
    size = max(1, round(height * side / longer)), max(1, round(width * side / longer))
    mask = resize_mask(pair.mask, size)
    if not ((mask == OBJECT).any() and (mask == BACKGROUND).any()):
        return pair
    return SupportPair(pair.name, resize_image(pair.image, size), mask)

"""Support pairs: the few real images of an object with their masks, paired by file stem."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint
from aligndiff.dataset.images import (
    BACKGROUND,
    IGNORE,
    OBJECT,
    Uint8,
    count_colours,
    has_colour,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # in any case

# A mask drawn in colour (a palette, a red shape with soft edges) has at most this many colours;
# a photo has thousands.
_MOST_MASK_COLOURS = 256


@dataclass(frozen=True)
class PairPaths:
    """The two files of a support pair; `name` is their common stem."""

    name: str
    image: Path
    mask: Path


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


def find_pairs(folder: str | Path) -> list[PairPaths]:
    """The support pairs of a folder, in natural order of their stems (2 before 10).

    Sub-folders, hidden files and files not named as images are ignored. InputError holds every
    problem: unpaired files, three files of one stem, two files of which neither is the mask.
    """
    pairs, problems = _find_pairs(Path(folder))
    if problems:
        raise InputError(problems)
    return pairs


def load_pair(paths: PairPaths) -> SupportPair:
    """Read a pair. InputError when it cannot be used: sizes differ, no object, no background."""
    problems: list[str] = []
    image, mask = _read(read_image, paths.image, problems), _read(read_mask, paths.mask, problems)
    if image is not None and mask is not None and image.shape[:2] != mask.shape:
        problems.append(_sizes_differ(paths, image.shape[:2], mask.shape))
    if mask is not None:
        problems += _check_values(paths.mask, mask)
    if problems or image is None or mask is None:
        raise InputError(problems)
    return SupportPair(paths.name, image, mask)


def load_support(folder: str | Path) -> list[SupportPair]:
    """Read all pairs of a folder; InputError holds the problems of all of them."""
    pairs, problems = _find_pairs(Path(folder))
    loaded = []
    for paths in pairs:
        try:
            loaded.append(load_pair(paths))
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return loaded


def check_support(folder: str | Path) -> list[str]:
    """Every problem of a folder of pairs; empty when good."""
    pairs, problems = _find_pairs(Path(folder))
    for paths in pairs:
        try:
            load_pair(paths)  # one at a time: photos are large, and none is kept
        except InputError as error:
            problems.extend(error.problems)
    return problems


def support_fingerprint(folder: str | Path) -> str:
    """16 hex digits over the names and bytes of all pairs: changes when any of them does."""
    return fingerprint(
        [
            [pair.name, file_fingerprint(pair.image), file_fingerprint(pair.mask)]
            for pair in find_pairs(folder)
        ]
    )


def _read(read: Callable[[Path], Uint8], path: Path, problems: list[str]) -> Uint8 | None:
    try:
        return read(path)
    except InputError as error:
        problems.extend(error.problems)
        return None


def _sizes_differ(paths: PairPaths, size: tuple[int, ...], mask_size: tuple[int, ...]) -> str:
    said = (
        f"is {mask_size[1]} x {mask_size[0]} px, its image {paths.image.name} {size[1]} x {size[0]}"
    )
    problem = f"{paths.mask}: {said}; a mask must have its image's width and height"
    if mask_size == size[::-1]:
        problem += " (is one of them rotated by its EXIF orientation?)"
    return problem


def _check_values(path: Path, mask: Uint8) -> list[str]:
    if not (mask == OBJECT).any():
        if (mask == IGNORE).any():
            reason = "its only value besides 0 is 255, which a palette mask uses for 'ignore'"
            return [f"{path}: has no object: {reason}; save it as a grey image"]
        return [f"{path}: is empty; mark the object with 1 or 255, or remove the pair"]
    if not (mask == BACKGROUND).any():
        return [f"{path}: is all object; leave the background 0, or remove the pair"]
    return []


def _find_pairs(folder: Path) -> tuple[list[PairPaths], list[str]]:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        return [], [f"{folder}: {what}; give a folder of support pairs (1.jpg + 1.png)"]
    groups: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if is_named_as_image(path):
            groups.setdefault(path.stem, []).append(path)
    if not groups:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        problem = f"{folder}: has no support pairs; put images and masks ({kinds}) of the same name"
        return [], [f"{problem} in it (1.jpg + 1.png)"]
    pairs: list[PairPaths] = []
    problems: list[str] = []
    for stem in sorted(groups, key=_natural):
        if all(path.is_dir() for path in groups[stem]):
            continue
        try:
            pairs.append(_pair(stem, sorted(groups[stem])))
        except InputError as error:
            problems.extend(error.problems)
    return pairs, problems


def _pair(stem: str, files: list[Path]) -> PairPaths:
    folder = files[0].parent
    for path in files:
        if not path.is_file():  # opening a pipe would wait for ever
            what = "is a folder, a pipe or a broken link, not a file"
            raise InputError(f"{path}: {what}; put the file in its place, or rename it")
    if len(files) == 1:
        partner = f"{stem}.jpg" if files[0].suffix.lower() == ".png" else f"{stem}.png"
        what = "image or mask" if files[0].suffix.lower() == ".png" else "mask"
        raise InputError(f"{files[0]}: has no {what} beside it; add {partner} or remove the file")
    if len(files) > 2:
        names = ", ".join(path.name for path in files)
        problem = f"{folder / stem}: {len(files)} files of one name ({names})"
        raise InputError(f"{problem}; keep the image and its mask, remove the rest")
    mask = _which_is_mask(files)
    image = files[0] if mask is files[1] else files[1]
    return PairPaths(stem, image, mask)


def _which_is_mask(files: list[Path]) -> Path:
    """The mask of two files: the PNG, unless it shows a colour photo; else the one without colour.

    Between two without colour it is the one with few shades. InputError when nothing tells.
    """
    pngs = [path for path in files if path.suffix.lower() == ".png"]
    if len(pngs) == 1 and not has_colour(pngs[0]):
        return pngs[0]  # the usual case, told without a look at the image
    plain = [path for path in files if not has_colour(path)]
    if len(pngs) == 1:
        # A mask may be drawn in colour, but has fewer of them than a grey photo has shades.
        most = count_colours(plain[0]) if plain else _MOST_MASK_COLOURS
        if count_colours(pngs[0]) <= most:
            return pngs[0]
    if len(plain) == 1:
        return plain[0]
    if len(pngs) != 1:
        few, many = sorted(files, key=count_colours)
        if count_colours(few) <= min(_MOST_MASK_COLOURS, count_colours(many) // 2):
            return few
    names = " and ".join(path.name for path in files)
    problem = f"{files[0].with_suffix('')}: cannot tell which of {names} is the mask"
    raise InputError(f"{problem}; save the mask as a black and white PNG and the image as JPG")


def _natural(stem: str) -> tuple[list[tuple[int, int, str]], str]:
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

"""Photos and mask files: side by side, or in folders such as images/ and masks/.

Names are compared more and more loosely until a mask has its photo. A folder around the pair names
the category.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from aligndiff.annotations.mask_names import (
    MASK_FOLDERS,
    PHOTO_FOLDERS,
    SPLITS,
    bare,
    last_number,
    photo_of,
)
from aligndiff.annotations.source import SourcePair, SourceReading, SourceTree, shortlist
from aligndiff.core.errors import InputError


@dataclass(frozen=True)
class _File:
    """A picture, and what its name and folders say of it."""

    name: str
    stem: str
    folders: tuple[str, ...]  # around it, without those that say what it is
    in_masks: bool  # within a folder of masks

    @property
    def place(self) -> tuple[str, ...]:
        return tuple(folder.casefold() for folder in self.folders)

    @property
    def photo_stem(self) -> str:
        """Of a mask: the stem its photo should have."""
        return photo_of(self.stem) or self.stem

    @property
    def category(self) -> str:
        named = [folder for folder in self.folders if folder.lower() not in SPLITS]
        return named[-1] if named else ""


def recognise(tree: SourceTree) -> str | None:
    """The first picture: whatever has pictures may be pairs."""
    return next(iter(tree.pictures), None)


def read(tree: SourceTree) -> SourceReading:
    files = [_describe(name) for name in tree.pictures]
    problems: list[str] = []
    photos, masks = _tell_apart(tree, files, problems)
    found, lost = _match(photos, masks, problems)
    pairs = tuple(
        SourcePair(
            photo.name,
            category,
            tuple(tree.mask(mask.name) for mask in mine),
            origin=mine[0].name,
        )
        for photo in photos
        for category, mine in found.get(photo.name, {}).items()
    )
    unmarked = tuple(photo.name for photo in photos if photo.name not in found)
    if lost:
        what = f"{shortlist([mask.name for mask in lost])}: named as a mask, without a photo"
        problems.append(f"{what} of that name; name it like its photo, or remove it")
    return SourceReading(pairs, unmarked, tuple(problems))


def _describe(name: str) -> _File:
    path = PurePosixPath(name)
    kinds = [folder.casefold() for folder in path.parts[:-1]]
    # Folders that are no names; of "labels/fish" the first says what, the second of what.
    said = MASK_FOLDERS | PHOTO_FOLDERS
    folders = [f for f, kind in zip(path.parts[:-1], kinds, strict=True) if kind not in said]
    return _File(name, path.stem, tuple(folders), any(kind in MASK_FOLDERS for kind in kinds))


def _tell_apart(
    tree: SourceTree, files: list[_File], problems: list[str]
) -> tuple[list[_File], list[_File]]:
    """Photos and masks: by folder, by names that go together, else two of a name by content."""
    outside = [file for file in files if not file.in_masks]
    masks = [file for file in files if file.in_masks]
    stems = {(file.place, file.stem.casefold()) for file in outside}
    photos: list[_File] = []
    groups: dict[Hashable, list[_File]] = {}
    for file in outside:
        photo = photo_of(file.stem)
        if photo is not None and (file.place, photo.casefold()) in stems:
            masks.append(file)
        else:
            groups.setdefault((PurePosixPath(file.name).parent, file.stem.casefold()), []).append(
                file
            )
    marked = {(mask.place, mask.photo_stem.casefold()) for mask in masks}
    for group in groups.values():
        if len(group) == 1 or (group[0].place, group[0].stem.casefold()) in marked:
            photos += group
        elif len(group) > 2:
            what = f"{len(group)} files of one name ({shortlist([f.name for f in group])})"
            problems.append(f"{what}; keep the photo and its mask, remove the rest")
        else:
            try:
                mask = tree.masks.of_two([tree.path(file.name) for file in group])
            except InputError as error:
                problems += error.problems
                continue
            masks += [file for file in group if tree.path(file.name) == mask]
            photos += [file for file in group if tree.path(file.name) != mask]
    if not masks:  # none has its photo by its very name: take the names' word
        masks = [file for file in photos if photo_of(file.stem) is not None]
        photos = [file for file in photos if photo_of(file.stem) is None]
    return photos, masks


def _match(
    photos: list[_File], masks: list[_File], problems: list[str]
) -> tuple[dict[str, dict[str, list[_File]]], list[_File]]:
    """The masks of each photo by category, the strictest rule first, and those without a photo."""
    found: dict[str, dict[str, list[_File]]] = {}
    for rule in _RULES:
        free = [photo for photo in photos if not rule.guesses or photo.name not in found]
        by_key = _by_key(free, rule.of_photo)
        for key, mine in _by_key(masks, rule.of_mask).items():
            theirs = by_key.get(key, [])
            if key is None or not theirs or (rule.guesses and len(mine) + len(theirs) > 2):
                continue
            if len(theirs) > 1:
                what = f"{mine[0].name}: may be the mask of {shortlist([p.name for p in theirs])}"
                problems.append(f"{what}; give each photo a name of its own")
            else:
                by_category = found.setdefault(theirs[0].name, {})
                for mask in mine:
                    category = theirs[0].category or mask.category
                    by_category.setdefault(category, []).append(mask)
            masks = [mask for mask in masks if mask not in mine]
    return found, masks


def _by_key(
    files: Iterable[_File], key: Callable[[_File], Hashable]
) -> dict[Hashable, list[_File]]:
    groups: dict[Hashable, list[_File]] = {}
    for file in files:
        groups.setdefault(key(file), []).append(file)
    return groups


@dataclass(frozen=True)
class _Rule:
    """A mask goes with the photo of the same key; `guesses`: only where each has no other."""

    of_photo: Callable[[_File], Hashable]
    of_mask: Callable[[_File], Hashable]
    guesses: bool = False


def _number(file: _File, stem: str) -> Hashable:
    number = last_number(stem)
    return None if number is None else (file.place, number)


_RULES = (
    _Rule(lambda p: (p.place, p.stem), lambda m: (m.place, m.stem)),
    _Rule(lambda p: (p.place, p.stem), lambda m: (m.place, m.photo_stem)),
    _Rule(lambda p: (p.place, p.stem.casefold()), lambda m: (m.place, m.photo_stem.casefold())),
    _Rule(lambda p: (p.place, bare(p.stem)), lambda m: (m.place, bare(m.photo_stem))),
    _Rule(lambda p: bare(p.stem), lambda m: bare(m.photo_stem)),  # masks/fish/1, images/1
    _Rule(lambda p: _number(p, p.stem), lambda m: _number(m, m.photo_stem), guesses=True),
)

"""Photos without a mask: drawn by a person in the page of `outline.py`, and put into the dataset.

Each pair is in its folder as soon as it is drawn: a person's work is not lost when the command is
stopped, and a second run shows what was drawn, to go on or to correct it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8
from aligndiff.preparation.categories import Names, spoken
from aligndiff.preparation.outline import Mask, outline_photos
from aligndiff.preparation.write import PairCounts, Writer, mask_name


def category_to_draw(names: Names) -> str:
    """The one category that is drawn, of those that are taken. InputError when it is not one."""
    categories = list(dict.fromkeys(names.values()))
    if not categories:
        raise InputError("--category: missing; --outline needs the name of what is drawn")
    if len(categories) > 1:
        what = f"one category at a time is drawn, these are {', '.join(categories)}"
        raise InputError(f"--outline: {what}; choose it with --category")
    return categories[0]


def photos_to_draw(unmarked: Sequence[str], category: str) -> list[str]:
    """The photos that may show the category: those in folders of its name, or else all."""
    key = spoken(category).casefold()
    own = [
        photo
        for photo in unmarked
        if key in (spoken(part).casefold() for part in PurePosixPath(photo).parts[:-1])
    ]
    return own or list(unmarked)


def draw_by_hand(
    writer: Writer,
    photos: Sequence[str],
    folder: str,
    category: str,
    tally: PairCounts,
    announce: Callable[[str], None],
) -> list[str]:
    """Let a person outline the photos, files of the tree; returns those that have a mask then.

    `writer` puts pairs straight into the dataset folder, `tally` counts them as they come, and
    `announce` prints a line.
    """
    names = {writer.tree.path(photo): photo for photo in photos}
    masks = _drawn_before(writer, names, folder)
    tally.kept += len(masks)
    drawn = {names[path] for path in masks}

    def save(path: Path, mask: Mask) -> None:
        if mask.all():
            raise InputError("the mask covers the whole photo; leave some background")
        drawing: Uint8 = mask.astype("uint8")
        writer.put(names[path], folder, drawing)
        tally.new += names[path] not in drawn
        drawn.add(names[path])

    announce(f"{len(names) - len(masks)} photos to draw, {len(masks)} drawn before")
    outline_photos([*names], save, announce=announce, title=category, masks=masks)
    return [photo for photo in photos if photo in drawn]


def _drawn_before(writer: Writer, names: dict[Path, str], folder: str) -> dict[Path, Path]:
    """The mask of each photo that the dataset folder has already."""
    masks: dict[Path, Path] = {}
    for path, photo in names.items():
        there = writer.find(photo, folder)
        if there is not None and (mask := there.with_name(mask_name(there.name))).exists():
            masks[path] = mask
    return masks

"""The photos that pairs are pasted into: with or without annotations of what they show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aligndiff.annotations.formats import recognise
from aligndiff.annotations.shapes import draw_mask
from aligndiff.annotations.source import SourcePair, SourceTree
from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8, read_image, resize_image, resize_mask
from aligndiff.dataset.support import SupportPair


@dataclass(frozen=True)
class BackgroundPhoto:
    """A photo, and what is annotated in it."""

    path: Path
    marked: tuple[SourcePair, ...]

    def shows(self, category: str) -> bool:
        """Whether an object of this class is annotated in it, in any spelling."""
        return _plain(category) in {_plain(pair.category) for pair in self.marked}

    def read(self, side: int) -> tuple[Uint8, list[SupportPair]]:
        """The image, its longer side at most `side`, and what is marked in it as pairs."""
        image = read_image(self.path)
        h, w = image.shape[:2]
        scale = min(1.0, side / max(h, w))
        size = max(1, round(h * scale)), max(1, round(w * scale))
        small, pairs = resize_image(image, size), []
        for pair in self.marked:
            mask = resize_mask(draw_mask(pair.shapes, pair.ignored, (h, w)), size)
            pairs.append(SupportPair(self.path.stem, small, mask))
        return small, pairs


def find_backgrounds(folder: Path | None) -> tuple[BackgroundPhoto, ...]:
    """All photos of a folder, in any layout that prepare_dataset reads. InputError without one."""
    if folder is None:
        return ()
    if not folder.is_dir():
        raise InputError(f"--backgrounds {folder}: no such folder; give one of photos")
    if drawn := sorted(folder.glob("*/generated_images/*.*")):  # what draw_backgrounds has written
        return tuple(BackgroundPhoto(path, ()) for path in drawn)
    tree = SourceTree.scan(folder)
    marked = marked_photos(tree, f"--backgrounds {folder}")
    if not marked:
        raise InputError(f"--backgrounds {folder}: has no photos; put some in it")
    return tuple(BackgroundPhoto(tree.path(name), tuple(pairs)) for name, pairs in marked.items())


def marked_photos(tree: SourceTree, where: str) -> dict[str, list[SourcePair]]:
    """What is marked in each photo of a tree, by the photo's name; nothing in an unmarked one.

    InputError, each line beginning with `where`, for annotations that cannot be read.
    """
    known, _ = recognise(tree)
    reading = known.read(tree)
    if reading.problems:
        raise InputError([f"{where}: {problem}" for problem in reading.problems])
    marked: dict[str, list[SourcePair]] = {name: [] for name in reading.unmarked}
    for pair in reading.pairs:
        marked.setdefault(pair.photo, []).append(pair)
    return marked


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()

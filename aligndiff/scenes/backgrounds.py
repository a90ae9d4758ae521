"""Backgrounds: a user's photos, with or without annotations, and those that were drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from aligndiff.annotations.backgrounds import marked_photos
from aligndiff.annotations.shapes import check_size, draw_mask
from aligndiff.annotations.source import SourcePair, SourceTree, shortlist
from aligndiff.composition.instance import Instance, cut_out
from aligndiff.core.errors import InputError
from aligndiff.dataset.images import (
    OBJECT,
    Uint8,
    read_grey,
    read_image,
    resize_image,
    resize_mask,
)
from aligndiff.dataset.raster import picture_size
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.render.canvas import fitting
from aligndiff.scenes.materials import Material

_LEAST = 16  # px, longer side; something smaller is not worth pasting
_SURE, _LIKELY, _MAYBE = 0.75, 0.35, 0.15  # of a heatmap's maximum, for the thing that was drawn
_CUT_SIDE, _ROUNDS = 192, 3  # px and rounds of GrabCut: a heatmap has fewer cells
_TOLD = 5  # files that an error names


@dataclass(frozen=True)
class NamedThing:
    """Something in a background whose outline is known; `category` is "" where it has no name."""

    category: str
    material: Material[Instance | None]


@dataclass(frozen=True)
class Background:
    """A photo that may become a ground.

    Attributes:
        path: its file.
        material: what is drawn.
        things: what is known to be in it.
        names: what it says of itself: names of its folders.
    """

    path: Path
    material: Material[Uint8]
    things: tuple[NamedThing, ...] = ()
    names: frozenset[str] = frozenset()

    def shows(self, category: str) -> bool:
        """Whether an object of this category is known to be in it."""
        own = spoken(category)
        return own in self.names or any(spoken(thing.category) == own for thing in self.things)


def spoken(name: str) -> str:
    """A category's name for comparison."""
    return " ".join(name.replace("_", " ").split()).casefold()


def read_backgrounds(folders: Iterable[Path], side: int) -> list[Background]:
    """All photos of the folders; only what is annotated is read. Raises InputError.

    `side`: the least that a scene needs of both sides of a photo, which may be read reduced.
    """
    found, problems = list[Background](), list[str]()
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"{folder}: no such folder; --backgrounds takes folders of photos")
            continue
        try:
            drawn = list(_drawn(folder))
            photos = drawn or list(_photos(folder, side))
        except InputError as error:
            problems += error.problems
            continue
        if not photos:
            problems.append(f"{folder}: holds no photos; put photos there, or name another folder")
        found += photos
    if problems:
        raise InputError(problems)
    return found


def check_photos(backgrounds: Sequence[Background], size: tuple[int, int]) -> None:
    """Raise InputError for files that are no images, and where photos are smaller than `size`."""
    broken, small = list[str](), list[tuple[int, int, str]]()
    for background in backgrounds:
        try:
            height, width = picture_size(background.path)
        except InputError as error:
            broken += error.problems
            continue
        if height < size[0] or width < size[1]:
            small.append((height, width, str(background.path)))
    if broken:
        more = [f"and {len(broken) - _TOLD} more of the kind"] * (len(broken) > _TOLD)
        raise InputError([*broken[:_TOLD], *more])
    if small:
        height, width, path = min(small)
        raise InputError(
            f"{len(small)} of {len(backgrounds)} backgrounds are smaller than the scenes, "
            f"{size[1]} x {size[0]} px, such as {path} ({width} x {height} px): give --side "
            f"{min(height, width)} or less, or take these away"
        )


def _photos(folder: Path, side: int) -> Iterator[Background]:
    """A user's photos, in any layout that prepare_dataset reads."""
    tree = SourceTree.scan(folder)
    for photo, marked in marked_photos(tree, str(folder)).items():
        path = tree.path(photo)
        name = f"{folder.name}/{photo}"
        identity = str(path.stat().st_size)
        things = tuple(
            NamedThing(
                pair.category,
                Material(
                    "thing",
                    f"{name} {pair.category}".strip(),
                    identity,
                    partial(_cut, tree, pair),
                ),
            )
            for pair in marked
        )
        around = frozenset(map(spoken, [folder.name, *PurePosixPath(photo).parts[:-1]]))
        ground = Material("background", name, identity, partial(read_image, path, side))
        yield Background(path, ground, things, around)


def _drawn(folder: Path) -> Iterator[Background]:
    """What draw_backgrounds has written; the heatmap tells where the thing of a prompt is."""
    for entry_json in sorted(folder.glob("*/entry.json")):
        record = EntryRecord.read(entry_json)
        thing = str(record.settings.get("thing", ""))
        place = entry_json.parent
        for path in sorted((place / "samples").glob("image_*.json")):
            sample = SampleRecord.read(path)
            if sample.fingerprint != record.fingerprint:
                continue
            image = place / "generated_images" / f"{path.stem}.{sample.image_format}"
            heatmap = place / "attention_masks" / f"{path.stem}.png"
            name, identity = f"{place.name}/{path.stem}", f"{sample.fingerprint} {sample.seed}"
            read = partial(_cut_by_heat, image, heatmap)
            things = (NamedThing(thing, Material("thing", f"{name} {thing}", identity, read)),)
            ground = Material("background", name, identity, partial(read_image, image))
            yield Background(image, ground, things if thing else ())


def _cut(tree: SourceTree, pair: SourcePair) -> Instance | None:
    """What is annotated in a photo, cut out; None for something too small to be worth it."""
    image = read_image(tree.path(pair.photo))
    size = image.shape[0], image.shape[1]
    try:
        check_size(pair.size, size)
        mask = draw_mask(pair.shapes, pair.ignored, size)
    except InputError as error:
        raise InputError([f"{pair.photo}: {problem}" for problem in error.problems]) from None
    return _worth(image, mask)


def _cut_by_heat(image: Path, heatmap: Path) -> Instance | None:
    picture = read_image(image)
    instance = _worth(picture, cut_by_heat(picture, read_grey(heatmap)))
    # What reaches several edges is more than the thing: the heatmap was none of its outline.
    return instance if instance is not None and sum(instance.cut) < 2 else None


def cut_by_heat(image: Uint8, heatmap: Uint8) -> Uint8:
    """Where the thing is that a heatmap, uint8 (h, w), is of: uint8 (h, w) of 0 and 1.

    A heatmap alone would take a rim of background along; GrabCut (Rother et al. 2004) finds the
    outline between where it is surely hot and where it is surely cold.
    """
    size = fitting(heatmap.shape, _CUT_SIDE)
    heat = resize_image(heatmap[..., None].repeat(3, axis=2), size)[..., 0] / max(heatmap.max(), 1)
    marks = np.full(size, cv2.GC_BGD, dtype=np.uint8)
    marks[heat > _MAYBE], marks[heat > _LIKELY] = cv2.GC_PR_BGD, cv2.GC_PR_FGD
    marks[heat > _SURE] = cv2.GC_FGD
    if (marks == cv2.GC_BGD).any() and (marks == cv2.GC_FGD).any():
        cv2.setRNGSeed(0)  # its clusters begin anywhere
        models = np.zeros((1, 65)), np.zeros((1, 65))
        small = resize_image(image, size)
        nowhere = (0, 0, 0, 0)  # the marks tell
        cv2.grabCut(small, marks, nowhere, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    thing = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.uint8)
    return resize_mask(thing, (heatmap.shape[0], heatmap.shape[1]))


def _worth(image: Uint8, mask: Uint8) -> Instance | None:
    if not (mask == OBJECT).any():
        return None
    instance = cut_out(image, mask)
    return instance if max(instance.mask.shape) >= _LEAST else None


def listed(backgrounds: Sequence[Background]) -> str:
    """The first few of them, by name."""
    return shortlist([background.material.name for background in backgrounds])

"""Pascal VOC: JPEGImages/ and SegmentationClass/, label maps in a palette, in colours or in grey.

Class names come from labelmap.txt (CVAT, Datumaro: name:r,g,b::), class_names.txt (labelme),
labels.txt, or are VOC's own twenty.
"""

from __future__ import annotations

import functools
import posixpath
from dataclasses import dataclass

import numpy as np

from aligndiff.annotations.shapes import MaskFile
from aligndiff.annotations.source import Collector, SourceReading, SourceTree
from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input
from aligndiff.dataset.colour_map import VOID_COLOUR, colour_map
from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT, Uint8, read_image, read_labels

_PHOTOS, _MASKS = "JPEGImages", "SegmentationClass"
_LISTS = ("labelmap.txt", "class_names.txt", "labels.txt", "classes.txt")
_MOST_BYTES = 2**20
_BACKGROUND_NAMES = ("background", "_background_")
_CLASSES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor"
).split()


@dataclass(frozen=True)
class _Classes:
    """The classes of a source: their names by number, and their colours where it lists them."""

    names: dict[int, str]
    colours: dict[tuple[int, int, int], int]


def recognise(tree: SourceTree) -> str | None:
    """The folder of the masks."""
    return next((posixpath.dirname(name) for name, _ in _masks(tree)), None)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    try:
        classes = _read_classes(tree)
    except InputError as error:
        return SourceReading((), problems=error.problems)
    for name, photo in _masks(tree):
        found = collector.photo(photo, name)
        try:
            labels = _labels(tree, name, classes)
        except InputError as error:
            collector.problems += error.problems
            continue
        for number in (int(value) for value in np.unique(labels)):
            if found is None or number in (BACKGROUND, IGNORE):
                continue
            category = classes.names.get(number, str(number))
            shape = MaskFile(functools.partial(_class_mask, tree, name, classes, number))
            collector.add(found, category, shape, name)
    photos = [n for n in tree.pictures if posixpath.basename(posixpath.dirname(n)) == _PHOTOS]
    return collector.reading(photos)


def _masks(tree: SourceTree) -> list[tuple[str, str]]:
    """(mask, photo) of every PNG in a folder SegmentationClass; photos lie in JPEGImages."""
    photos = {name.rsplit(".", 1)[0]: name for name in tree.pictures}
    pairs = []
    for name in tree.named(".png"):
        parts = name.rsplit(".", 1)[0].split("/")
        for place, part in enumerate(parts[:-1]):
            # labelme writes SegmentationClassPNG; SegmentationClassAug is well known.
            if part.startswith(_MASKS) and "Visualization" not in part:
                stem = "/".join([*parts[:place], _PHOTOS, *parts[place + 1 :]])
                pairs.append((name, photos.get(stem, f"{parts[-1]}.jpg")))
    return pairs


def _labels(tree: SourceTree, name: str, classes: _Classes) -> Uint8:
    """Class numbers, uint8 (h, w); colours that the source lists count before palette indices."""
    path = tree.path(name)
    if not classes.colours:
        try:
            return read_labels(path)
        except InputError:
            pass  # it is in colours: VOC's own, then
    image = read_image(path).astype(np.int64)
    packed = image @ np.array([65536, 256, 1])
    known = classes.colours or _voc_colours()
    labels = np.full(packed.shape, IGNORE, dtype=np.uint8)
    unknown = []
    for value in np.unique(packed):
        colour = (int(value >> 16), int(value >> 8 & 255), int(value & 255))
        if colour in known:
            labels[packed == value] = known[colour]
        elif colour != VOID_COLOUR:
            unknown.append(colour)
    if unknown and not classes.colours and np.isin(np.unique(packed), _greys()).all():
        return np.asarray(image[..., 0], dtype=np.uint8)
    if unknown:
        shown = ", ".join(map(str, unknown[:3]))
        what = f"{name}: holds colours that are no class ({shown})"
        raise InputError(f"{what}; put labelmap.txt with lines name:r,g,b:: beside the folder")
    return labels


def _class_mask(tree: SourceTree, name: str, classes: _Classes, number: int) -> Uint8:
    """One class of a label map, uint8 (h, w): 0, 1, and 255 at the void rim."""
    labels = _labels(tree, name, classes)
    mask = np.where(labels == number, OBJECT, BACKGROUND)
    return np.where(labels == IGNORE, IGNORE, mask).astype(np.uint8)


def _read_classes(tree: SourceTree) -> _Classes:
    for end in _LISTS:
        for name in (n for n in tree.files if posixpath.basename(n).lower() == end):
            text = read_input(tree.path(name), _MOST_BYTES).decode("utf-8-sig", "replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if end == "labelmap.txt":
                return _labelmap(name, [line for line in lines if not line.startswith("#")])
            if "__ignore__" in lines[:1]:  # labelme's list begins with it, as number -1
                lines = lines[1:]
            return _Classes(dict(enumerate(lines)), {})
    return _Classes(dict(enumerate(_CLASSES)), {})


def _labelmap(name: str, lines: list[str]) -> _Classes:
    """Lines name:r,g,b:parts:actions; the background is number 0 wherever it stands."""
    names, colours = {}, {}
    number = 0
    for line in lines:
        label, colour, *_ = [*line.split(":"), ""]
        try:
            red, green, blue = (int(value) for value in colour.split(","))
        except ValueError:
            raise InputError(f"{name}: {line!r} is no line name:r,g,b::; correct it") from None
        if label.strip().lower() in _BACKGROUND_NAMES:
            colours[red, green, blue] = BACKGROUND
            continue
        number += 1
        if number >= IGNORE:
            raise InputError(f"{name}: lists more than 254 classes; leave some out")
        names[number], colours[red, green, blue] = label.strip(), number
    colours.setdefault((0, 0, 0), BACKGROUND)
    return _Classes(names, colours)


def _voc_colours() -> dict[tuple[int, int, int], int]:
    """VOC's own colours of its classes."""
    colours = [tuple(colour) for colour in colour_map().tolist()]
    return {(r, g, b): number for number, (r, g, b) in enumerate(colours[: len(_CLASSES)])}


def _greys() -> list[int]:
    return [value * 65793 for value in range(256)]

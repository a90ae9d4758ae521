"""CVAT for images: one XML with polygons, ellipses and masks (runs along the rows of a box)."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from aligndiff.annotations.json_files import number, read_xml, whole
from aligndiff.annotations.runs import decode_runs
from aligndiff.annotations.shapes import Bitmap, Polygon, Shape, circle, points_of
from aligndiff.annotations.source import Collector, SourceReading, SourceTree
from aligndiff.core.errors import InputError

_ROOT = b"<annotations"
_BEGINNING = 4096  # bytes of a file in which its root element stands


def recognise(tree: SourceTree) -> str | None:
    """The first XML file whose root is CVAT's."""
    return next((name for name in tree.named(".xml") if _is_cvat(tree, name)), None)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    for name in tree.named(".xml"):
        if not _is_cvat(tree, name):
            continue
        try:
            root = read_xml(tree, name)
        except InputError as error:
            collector.problems += error.problems
            continue
        if root.find("track") is not None:
            collector.problems.append(
                f"{name}: holds tracks of a video; export the task as CVAT for images"
            )
        for image in root.iter("image"):
            _read_image(name, image, collector)
    return collector.reading()


def _is_cvat(tree: SourceTree, name: str) -> bool:
    try:
        with open(tree.path(name), "rb") as file:
            return _ROOT in file.read(_BEGINNING)
    except OSError:
        return False


def _read_image(name: str, image: Element, collector: Collector) -> None:
    photo = collector.photo(image.get("name"), name, below=("", "images"))
    if photo is None:
        return
    for place, element in enumerate(image, start=1):
        where = f"{name}: {image.get('name')}: shape {place} ({element.get('label')})"
        try:
            size = whole(image.get("height"), "height"), whole(image.get("width"), "width")
            shape = _shape(element)
        except InputError as error:
            collector.problems += [f"{where}: {problem}" for problem in error.problems]
            continue
        if shape is not None:
            collector.add(photo, element.get("label", ""), shape, name, size)
        elif element.tag != "tag":
            collector.skip(f"shapes of type {element.tag}")


def _shape(element: Element) -> Shape | None:
    """None for what outlines nothing: boxes, lines, points."""
    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in element.get("points", "").split(";")]
        return Polygon((points_of(pairs),))
    if element.tag == "ellipse":
        centre, radii = ("cx", "cy"), ("rx", "ry")
        x, y, rx, ry = (number(element.get(key), key) for key in (*centre, *radii))
        return Polygon((circle((x, y), (rx, ry)),))
    if element.tag == "mask":
        left, top = (int(number(element.get(key), key)) for key in ("left", "top"))
        size = whole(element.get("height"), "height"), whole(element.get("width"), "width")
        counts = _counts(element.get("rle", ""))
        return Bitmap(lambda: decode_runs(counts, size, by_columns=False), (top, left))
    return None


def _counts(text: str) -> list[int]:
    try:
        return [int(count) for count in text.split(",")]
    except ValueError:
        raise InputError("its rle is no list of whole numbers") from None

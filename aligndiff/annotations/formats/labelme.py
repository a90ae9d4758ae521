"""labelme (X-AnyLabeling too): one JSON beside each photo, with `shapes`."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

from aligndiff.annotations.bitmaps import png_bits
from aligndiff.annotations.json_files import first_json, json_objects, number, whole
from aligndiff.annotations.shapes import Bitmap, Polygon, Shape, circle, points_of
from aligndiff.annotations.source import Collector, MissingPhotoError, SourceReading, SourceTree
from aligndiff.core.errors import InputError

_BACKGROUND, _IGNORE = "_background_", "__ignore__"  # labelme's own names
_OUTLINES = ("polygon", "rectangle", "circle", "mask", "rotation", None, "")


def recognise(tree: SourceTree) -> str | None:
    """The first file that holds what labelme's do."""
    return first_json(tree, _is_labelme)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    for name, content in json_objects(tree, _is_labelme, collector.problems):
        photo = _photo(tree, name, content, collector)
        if photo is None:
            continue
        try:
            _read_shapes(name, photo, content, collector)
        except InputError as error:
            collector.problems += [f"{name}: {problem}" for problem in error.problems]
    return collector.reading(tree.pictures)


def _is_labelme(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def _photo(
    tree: SourceTree, name: str, content: dict[str, Any], collector: Collector
) -> str | None:
    """The photo that the file names, or that has its name: files are renamed together."""
    stem = name.rsplit(".", 1)[0]
    beside = [picture for picture in tree.pictures if picture.rsplit(".", 1)[0] == stem]
    try:
        return tree.locate(str(content.get("imagePath") or beside[0]), name)
    except (MissingPhotoError, IndexError):
        if len(beside) == 1:
            return beside[0]
    except InputError:
        pass  # the collector tells it
    return collector.photo(content.get("imagePath"), name)


def _read_shapes(name: str, photo: str, content: dict[str, Any], collector: Collector) -> None:
    size = None
    if content.get("imageHeight") is not None and content.get("imageWidth") is not None:
        size = whole(content["imageHeight"], "imageHeight"), whole(content["imageWidth"], "width")
    ignored = []
    for place, raw in enumerate(content["shapes"], start=1):
        if not isinstance(raw, dict) or not isinstance(raw.get("label"), str):
            raise InputError(f"shape {place}: has no label")
        if raw["label"] == _BACKGROUND:
            continue
        if raw.get("shape_type") not in _OUTLINES:
            collector.skip(f"shapes of type {raw.get('shape_type')}")
            continue
        try:
            shape = _shape(raw)
        except InputError as error:
            raise InputError(f"shape {place} ({raw['label']}): {error}") from None
        if raw["label"] == _IGNORE:
            ignored.append(shape)
        else:
            collector.add(photo, raw["label"], shape, name, size)
    for shape in ignored:
        collector.ignore_everywhere(photo, shape)


def _shape(raw: dict[str, Any]) -> Shape:
    kind, points = raw.get("shape_type"), raw.get("points")
    if kind in ("rectangle", "circle", "mask"):
        # Newer versions of X-AnyLabeling write all four corners of a rectangle.
        if not isinstance(points, list) or len(points) not in (2, 4):
            raise InputError(f"a {kind} is given by two points")
        (x0, y0), (x1, y1) = (_point(points[0]), _point(points[len(points) // 2]))
        if kind == "mask":
            corner = round(min(y0, y1)), round(min(x0, x1))
            return Bitmap(lambda: png_bits(_decoded(raw.get("mask"))), corner)
        if kind == "circle":
            radius = math.hypot(x1 - x0, y1 - y0)
            return Polygon((circle((x0, y0), (radius, radius)),), on_line=True)
        return Polygon((points_of([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]),), on_line=True)
    return Polygon((points_of(points),), on_line=True)


def _point(raw: Any) -> tuple[float, float]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise InputError("a point is no pair x, y")
    return number(raw[0], "x"), number(raw[1], "y")


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise InputError("its mask is no base64 text") from None

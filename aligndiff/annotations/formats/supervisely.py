"""Supervisely: meta.json, and in each dataset img/ and ann/<photo's file name>.json."""

from __future__ import annotations

import base64
import binascii
import posixpath
import zlib
from typing import Any

from aligndiff.annotations.bitmaps import png_bits
from aligndiff.annotations.json_files import first_json, json_objects, number, whole
from aligndiff.annotations.shapes import Bitmap, Polygon, Shape, points_of
from aligndiff.annotations.source import Collector, SourceReading, SourceTree
from aligndiff.core.errors import InputError

_MOST_BYTES = 64 * 2**20  # of a bitmap's PNG, which zlib could blow up


def recognise(tree: SourceTree) -> str | None:
    """The first file that holds what Supervisely's do."""
    return first_json(tree, _is_supervisely)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    for name, content in json_objects(tree, _is_supervisely, collector.problems):
        # The annotation's file name is the photo's, with its suffix, and .json.
        photo_name = posixpath.basename(name)[: -len(".json")]
        folder = posixpath.dirname(posixpath.dirname(name))
        photo = collector.photo(photo_name, name, below=(posixpath.join(folder, "img"), ""))
        if photo is None:
            continue
        try:
            _read_objects(name, photo, content, collector)
        except InputError as error:
            collector.problems += [f"{name}: {problem}" for problem in error.problems]
    return collector.reading(tree.pictures)


def _is_supervisely(content: object) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("objects"), list)
        and isinstance(content.get("size"), dict)
    )


def _read_objects(name: str, photo: str, content: dict[str, Any], collector: Collector) -> None:
    size = (
        whole(content["size"].get("height"), "height"),
        whole(content["size"].get("width"), "width"),
    )
    for place, raw in enumerate(content["objects"], start=1):
        if not isinstance(raw, dict) or not isinstance(raw.get("classTitle"), str):
            raise InputError(f"object {place}: has no classTitle")
        kind = raw.get("geometryType")
        if kind not in ("polygon", "bitmap", "rectangle"):
            collector.skip(f"objects of type {kind}")
            continue
        try:
            shape = _bitmap(raw.get("bitmap")) if kind == "bitmap" else _polygon(raw, kind)
        except InputError as error:
            raise InputError(f"object {place} ({raw['classTitle']}): {error}") from None
        collector.add(photo, raw["classTitle"], shape, name, size)


def _polygon(raw: dict[str, Any], kind: str) -> Shape:
    points = raw.get("points")
    if not isinstance(points, dict):
        raise InputError("has no points")
    outer, holes = points.get("exterior"), points.get("interior") or []
    if kind == "rectangle":
        if not isinstance(outer, list) or len(outer) != 2:
            raise InputError("a rectangle is given by two points")
        (x0, y0), (x1, y1) = outer
        outer = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    rings = (points_of(outer), *(points_of(hole) for hole in holes))
    return Polygon(rings, on_line=True)


def _bitmap(raw: Any) -> Shape:
    if not isinstance(raw, dict) or not isinstance(raw.get("origin"), list):
        raise InputError("its bitmap has no data and origin")
    if len(raw["origin"]) != 2:
        raise InputError("its bitmap's origin is no pair x, y")
    left, top = (int(number(value, "origin")) for value in raw["origin"])
    return Bitmap(lambda: png_bits(_decompressed(raw.get("data"))), (top, left))


def _decompressed(text: Any) -> bytes:
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text), _MOST_BYTES)
    except (TypeError, ValueError, binascii.Error, zlib.error):
        raise InputError("its bitmap is no base64 text of compressed data") from None
    if unpacker.unconsumed_tail:
        raise InputError("its bitmap is larger than any mask")
    return data

"""COCO: one JSON with `images`, `annotations` (polygons, or RLE compressed or not), `categories`.

Roboflow writes one `_annotations.coco.json` beside the photos of each split.
"""

from __future__ import annotations

from typing import Any

from aligndiff.annotations.json_files import first_json, json_objects, whole
from aligndiff.annotations.runs import decode_runs, uncompress
from aligndiff.annotations.shapes import Bitmap, Polygon, Shape, points_of
from aligndiff.annotations.source import Collector, SourceReading, SourceTree
from aligndiff.core.errors import InputError


def recognise(tree: SourceTree) -> str | None:
    """The first file that holds what COCO's do."""
    return first_json(tree, _is_coco)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    for name, content in json_objects(tree, _is_coco, collector.problems):
        _read_file(name, content, collector)
    return collector.reading()


def _is_coco(content: object) -> bool:
    keys = ("images", "annotations", "categories")
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)


def _read_file(name: str, content: dict[str, Any], collector: Collector) -> None:
    names = {c.get("id"): c.get("name") for c in content["categories"] if isinstance(c, dict)}
    photos = {p.get("id"): p for p in content["images"] if isinstance(p, dict)}
    for photo in photos.values():
        collector.photo(photo.get("file_name"), name)
    for annotation in content["annotations"]:
        number = annotation.get("id") if isinstance(annotation, dict) else None
        try:
            _read_annotation(name, annotation, photos, names, collector)
        except InputError as error:
            where = f"{name}: annotation {number}"
            collector.problems += [f"{where}: {problem}" for problem in error.problems]


def _read_annotation(
    name: str, annotation: Any, photos: dict[Any, Any], names: dict[Any, Any], collector: Collector
) -> None:
    if not isinstance(annotation, dict):
        raise InputError("is no object {...}")
    photo, category = (
        photos.get(annotation.get("image_id")),
        names.get(annotation.get("category_id")),
    )
    if photo is None:
        raise InputError(f"belongs to image {annotation.get('image_id')}, which is not listed")
    if not annotation.get("segmentation"):
        collector.skip("annotations without an outline (boxes)")
        return
    if not isinstance(category, str):
        raise InputError(f"has category {annotation.get('category_id')}, which is not listed")
    path = collector.photo(photo.get("file_name"), name)
    if path is None:
        return
    size = None
    if photo.get("height") is not None and photo.get("width") is not None:
        size = whole(photo["height"], "height"), whole(photo["width"], "width")
    crowd = bool(annotation.get("iscrowd"))
    for shape in segmentation_shapes(annotation["segmentation"]):
        # A crowd is an area with objects in it, not the outline of any.
        collector.add(path, category, shape, name, size, ignored=crowd)


def segmentation_shapes(segmentation: Any) -> list[Shape]:
    """An annotation's `segmentation`: polygons, or an RLE; InputError when it is neither."""
    if isinstance(segmentation, list):
        if not isinstance(segmentation[0], list):  # written without the list around it
            segmentation = [segmentation]
        return [Polygon((points_of(ring),)) for ring in segmentation]
    if not isinstance(segmentation, dict):
        raise InputError("its segmentation is neither polygons nor an RLE with size and counts")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not isinstance(counts, str | list):
        raise InputError("its segmentation is neither polygons nor an RLE with size and counts")
    height, width = whole(size[0], "height"), whole(size[1], "width")

    def decode() -> Any:
        runs = uncompress(counts) if isinstance(counts, str) else counts
        return decode_runs(runs, (height, width), by_columns=True)

    return [Bitmap(decode)]

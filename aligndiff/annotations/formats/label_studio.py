"""Label Studio: the JSON or JSON_MIN export (brush and polygons), or its PNG masks.

A PNG is named task-<task>-annotation-<number>-by-<user>-tag-<label>-<n>.png: the photo is the
task's, which only the JSON names. Uploaded photos carry 8 hex digits before their name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from aligndiff.annotations.json_files import first_json, json_objects, number, whole
from aligndiff.annotations.runs import decode_brush
from aligndiff.annotations.shapes import Bitmap, Polygon, Shape, circle, points_of
from aligndiff.annotations.source import Collector, SourceReading, SourceTree, shortlist
from aligndiff.core.errors import InputError

_PNG = re.compile(
    r"task-(?P<task>\d+)-annotation-\d+-by-.*?-tag-(?P<label>.+)-\d+\.png", re.IGNORECASE
)
_UPLOAD = re.compile(r"[0-9a-f]{8}-")
_OUTLINES = ("brushlabels", "polygonlabels", "ellipselabels")


def recognise(tree: SourceTree) -> str | None:
    """The first JSON of tasks, else the first PNG with its kind of name."""
    found = first_json(tree, _is_tasks)
    return found or next((name for name, _ in _png_masks(tree)), None)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    masks = [name for name, _ in _png_masks(tree)]
    pictures = [picture for picture in tree.pictures if picture not in set(masks)]
    tasks: dict[str, str | None] = {}
    for name, content in json_objects(tree, _is_tasks, collector.problems):
        for task in content:
            photo = _photo(tree, name, task, collector)
            tasks[str(task.get("id"))] = photo
            if photo is not None and not masks:
                _read_task(name, photo, task, collector)
    if masks:
        _read_pngs(tree, tasks, pictures, collector)
    return collector.reading(pictures)


def _is_tasks(content: object) -> bool:
    """Tasks with data and annotations, or JSON_MIN's, whose labels stand in the task itself."""
    if not isinstance(content, list) or not content:
        return False
    return all(
        isinstance(task, dict)
        and (isinstance(task.get("data"), dict) or ("annotation_id" in task or "annotator" in task))
        for task in content
    )


def _photo(tree: SourceTree, name: str, task: dict[str, Any], collector: Collector) -> str | None:
    """The photo of a task: the first of its data that is named as a file."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    texts = [value for value in data.values() if isinstance(value, str)]
    address = next((text for text in texts if _looks_like_file(text)), None)
    if address is None:
        collector.problems.append(f"{name}: task {task.get('id')}: names no photo in its data")
        return None
    path = address.split("?d=")[-1] if "?d=" in address else address.split("?")[0]
    path = re.sub(r"^[a-z0-9]+://", "", path)
    plain = _UPLOAD.sub("", posixpath.basename(path), count=1)
    for candidate in (path.lstrip("/"), plain):
        try:
            return collector.photo(tree.locate(candidate, name), name)
        except InputError:
            continue
    return collector.photo(path.lstrip("/"), name)


def _looks_like_file(text: str) -> bool:
    return re.search(r"\.[A-Za-z0-9]{3,4}($|\?)", text) is not None or "?d=" in text


def _read_task(name: str, photo: str, task: dict[str, Any], collector: Collector) -> None:
    for result in _results(task):
        try:
            label, shape = _shape(result)
            if shape is None:
                collector.skip(f"results of type {label}")
                continue
            size = (
                whole(result.get("original_height"), "original_height"),
                whole(result.get("original_width"), "original_width"),
            )
        except InputError as error:
            where = f"{name}: task {task.get('id')}"
            collector.problems += [f"{where}: {problem}" for problem in error.problems]
            continue
        collector.add(photo, label, shape, name, size)


def _results(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The results of a task's first annotation that was not cancelled."""
    if isinstance(task.get("data"), dict):
        for annotation in task.get("annotations") or task.get("completions") or []:
            if isinstance(annotation, dict) and not annotation.get("was_cancelled"):
                yield from (
                    item for item in annotation.get("result") or [] if isinstance(item, dict)
                )
                return
    for values in task.values():  # JSON_MIN: a value is flattened into its result
        if isinstance(values, list):
            yield from (item for item in values if isinstance(item, dict))


def _shape(result: dict[str, Any]) -> tuple[str, Shape | None]:
    """The label and the outline of a result; its type and None for what outlines nothing."""
    value = result["value"] if isinstance(result.get("value"), dict) else result
    kind = next((key for key in _OUTLINES if value.get(key)), None)
    if kind is None:
        return str(
            result.get("type") or next((k for k in value if k.endswith("labels")), "?")
        ), None
    labels = value[kind]
    label = labels[0] if isinstance(labels, list) else labels
    if not isinstance(label, str):
        raise InputError("has a label that is no text")
    size = (
        whole(result.get("original_height"), "original_height"),
        whole(result.get("original_width"), "original_width"),
    )
    if kind == "brushlabels":
        return label, Bitmap(lambda: decode_brush(value.get("rle") or [], size))
    if kind == "ellipselabels":
        keys = ("x", "y", "radiusX", "radiusY")
        x, y, rx, ry = (number(value.get(key), key) / 100 for key in keys)
        return label, Polygon((circle((x, y), (rx, ry)),), relative=True)
    return label, Polygon((points_of(value.get("points")) / np.float64(100),), relative=True)


def _png_masks(tree: SourceTree) -> Iterator[tuple[str, re.Match[str]]]:
    for name in tree.named(".png"):
        if match := _PNG.fullmatch(posixpath.basename(name)):
            yield name, match


def _read_pngs(
    tree: SourceTree, tasks: dict[str, str | None], pictures: list[str], collector: Collector
) -> None:
    """Masks by their task's photo; without the JSON only one task and one photo go together."""
    by_task: dict[str, list[tuple[str, str]]] = {}
    for name, match in _png_masks(tree):
        by_task.setdefault(match["task"], []).append((name, match["label"]))
    if not tasks and len(by_task) == len(pictures) == 1:
        tasks = {next(iter(by_task)): pictures[0]}
    unknown = [masks[0][0] for task, masks in by_task.items() if task not in tasks]
    if unknown:
        what = f"{shortlist(unknown)}: named by the task, not by the photo ({shortlist(pictures)})"
        remedy = "export JSON from Label Studio too and put it here"
        example = f"{pictures[0].rsplit('.', 1)[0]}_mask.png" if pictures else "PHOTO_mask.png"
        collector.problems.append(f"{what}; {remedy}, or name each mask by its photo: {example}")
    for task, masks in by_task.items():
        photo = tasks.get(task)
        if photo is None:
            continue
        collector.photo(photo, masks[0][0])
        for name, label in masks:
            collector.add(photo, label, tree.mask(name), name)

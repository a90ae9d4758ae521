"""YOLO segmentation: images/, labels/ with a .txt of polygons for each photo, and data.yaml."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import yaml

from aligndiff.annotations.shapes import Polygon
from aligndiff.annotations.source import Collector, SourceReading, SourceTree
from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input

_MOST_BYTES = 64 * 2**20
_MOST_SNIFFED = 20  # label files that are looked into to recognise the format
_YAML, _CLASSES = (".yaml", ".yml"), ("classes.txt", "obj.names")
_BOX = 4  # numbers of a box: middle, width, height


def recognise(tree: SourceTree) -> str | None:
    """A YAML file that lists names, or the first label file."""
    labels = [name for name, _ in _label_files(tree)][:_MOST_SNIFFED]
    for name in tree.named(*_YAML):
        if labels and _names_in(_yaml(tree, name)) is not None:
            return name
    return next((name for name in labels if _is_label(tree, name)), None)


def read(tree: SourceTree) -> SourceReading:
    collector = Collector(tree)
    names = _class_names(tree, collector)
    for name, photo in _label_files(tree):
        collector.photo(photo, name)
        for number, line in enumerate(_lines(tree, name), start=1):
            try:
                _read_line(line, name, photo, names, collector)
            except InputError as error:
                where = f"{name}: line {number}"
                collector.problems += [f"{where}: {problem}" for problem in error.problems]
    return collector.reading(tree.pictures)


def _label_files(tree: SourceTree) -> Iterator[tuple[str, str]]:
    """(label file, photo): of one name, in labels/ and images/ or side by side."""
    photos = {picture.rsplit(".", 1)[0]: picture for picture in tree.pictures}
    for name in tree.named(".txt"):
        stem = name.rsplit(".", 1)[0]
        parts = stem.split("/")
        places = [stem]
        for place in (i for i, part in enumerate(parts[:-1]) if part.lower() == "labels"):
            mirrored = [*parts[:place], "images", *parts[place + 1 :]]
            places.append("/".join(mirrored))
        photo = next((photos[place] for place in places if place in photos), None)
        if photo is not None:
            yield name, photo


def _read_line(
    line: str, name: str, photo: str, names: dict[int, str], collector: Collector
) -> None:
    try:
        number, *values = (float(word) for word in line.split())
    except ValueError:
        raise InputError("holds words where numbers belong: class x y x y ...") from None
    if not all(map(math.isfinite, (number, *values))) or number != int(number):
        raise InputError("holds a number that is not finite, or no whole class number")
    if len(values) in (_BOX, _BOX + 1):
        collector.skip("boxes, which outline nothing,")
        return
    if len(values) < 6 or len(values) % 2:
        raise InputError(f"holds {len(values)} numbers after the class, not 3 or more points x y")
    # Two thirds of a pixel outside is rounding; more is not a part of width or height.
    if min(values) < -0.01 or max(values) > 1.01:
        raise InputError("holds a point outside 0 to 1: points are parts of width and height")
    category = names.get(int(number), str(int(number)))
    ring = np.clip(np.array(values).reshape(-1, 2), 0, 1)
    collector.add(photo, category, Polygon((ring,), on_line=True, relative=True), name)


def _class_names(tree: SourceTree, collector: Collector) -> dict[int, str]:
    """Names by class number, from data.yaml or classes.txt; empty where there is none."""
    for name in tree.named(*_YAML):
        try:
            names = _names_in(_yaml(tree, name, strict=True))
        except InputError as error:
            collector.problems += error.problems
            continue
        if names is not None:
            return names
    for name in tree.named(*_CLASSES):
        return dict(enumerate(_lines(tree, name)))
    return {}


def _yaml(tree: SourceTree, name: str, strict: bool = False) -> Any:
    try:
        return yaml.safe_load(read_input(tree.path(name), _MOST_BYTES))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if strict:
            raise InputError(f"{name}: not valid YAML: {error}; correct it") from None
        return None


def _names_in(content: Any) -> dict[int, str] | None:
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict):
        return {int(key): str(name) for key, name in names.items() if str(key).isdecimal()}
    return None


def _is_label(tree: SourceTree, name: str) -> bool:
    """Whether the first line is a class number and points or a box."""
    words = next(iter(_lines(tree, name)), "").split()
    if len(words) <= _BOX or not words[0].isdecimal():
        return False
    try:
        return all(math.isfinite(float(word)) for word in words[1:])
    except ValueError:
        return False


def _lines(tree: SourceTree, name: str) -> list[str]:
    text = read_input(tree.path(name), _MOST_BYTES).decode("utf-8-sig", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]

"""JSON and XML files of annotation tools, read with care: they may be large, and anybody's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from aligndiff.annotations.source import SourceTree
from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input, read_json

MOST_BYTES = 1024 * 2**20  # COCO's own largest file has 450 MB
_MOST_SNIFFED = 50  # files that are looked into to recognise a format
_MOST_PIXELS = 65_535  # of a side, as in JPEG


def first_json(tree: SourceTree, is_one: Callable[[object], bool]) -> str | None:
    """The first JSON file of a kind among the first few, by which a format is recognised."""
    for name in tree.named(".json")[:_MOST_SNIFFED]:
        with suppress(InputError):  # told where no format is recognised
            if is_one(_content(tree.path(name))):
                return name
    return None


def json_objects(
    tree: SourceTree, is_one: Callable[[object], bool], problems: list[str]
) -> Iterator[tuple[str, Any]]:
    """(name, content) of the JSON files of a kind; those that cannot be read go to `problems`."""
    for name in tree.named(".json"):
        try:
            content = _content(tree.path(name))
        except InputError as error:
            problems += error.problems
            continue
        if is_one(content):
            yield name, content


def broken_json(tree: SourceTree) -> list[str]:
    """The problems of the first few JSON files."""
    problems: list[str] = []
    for name in tree.named(".json")[:_MOST_SNIFFED]:
        try:
            _content(tree.path(name))
        except InputError as error:
            problems += error.problems
    return problems


@lru_cache(maxsize=4)  # one after the other, all formats look into a file that may be large
def _content(path: Path) -> Any:
    return read_json(path, MOST_BYTES)


def read_xml(tree: SourceTree, name: str) -> ElementTree.Element:
    """The root of an XML file; InputError when it is none, or declares entities of its own."""
    data = read_input(tree.path(name), MOST_BYTES)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{name}: declares a document type, which may hide much; remove it")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(f"{name}: not valid XML: {error}; export it again") from None


def whole(value: Any, what: str) -> int:
    """A width or height of a photo in pixels; InputError when it cannot be one."""
    try:
        number = int(value)
        exact = float(value) == number
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact or not 0 < number <= _MOST_PIXELS:
        raise InputError(f"its {what} is {value!r}, not a number of pixels")
    return number


def number(value: Any, what: str) -> float:
    """A finite number; InputError when it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not abs(found) < 1e9:
        raise InputError(f"its {what} is {value!r}, not a number")
    return found

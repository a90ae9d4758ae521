"""The formats of a source: one module and one line of the table each.

Each module has `recognise(tree)`, the file by which it knows its format, or None, and `read(tree)`.
Other programs' readers would take as much to fetch as to write: Datumaro (1.13) brings 25 packages
and holds OpenCV below 5 and Pillow below 13, which are ours; supervision (0.31) brings matplotlib,
SciPy and FFmpeg and reads three of these formats, VOC's and YOLO's boxes among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aligndiff.annotations.formats import (
    coco,
    cvat,
    label_studio,
    labelme,
    mvtec,
    pairs,
    supervisely,
    voc,
    yolo,
)
from aligndiff.annotations.json_files import broken_json
from aligndiff.annotations.source import SourceReading, SourceTree
from aligndiff.core.errors import InputError
from aligndiff.dataset.hints import hint_for_pictures


@dataclass(frozen=True)
class SourceFormat:
    """A format: its name for --from, what it looks like, how it is known and read."""

    name: str
    layout: str
    recognise: Callable[[SourceTree], str | None]
    read: Callable[[SourceTree], SourceReading]


FORMATS: dict[str, SourceFormat] = {
    name: SourceFormat(name, layout, module.recognise, module.read)
    for name, layout, module in (
        ("coco", "a JSON with images, annotations, categories", coco),
        ("labelme", "a JSON with shapes beside each photo", labelme),
        ("supervisely", "img/ and ann/ with a JSON for each photo", supervisely),
        ("label_studio", "a JSON of tasks, or task-1-annotation-1-...png", label_studio),
        ("cvat", "annotations.xml (CVAT for images)", cvat),
        ("voc", "JPEGImages/ and SegmentationClass/", voc),
        ("yolo", "images/, labels/ with .txt polygons, data.yaml", yolo),
        ("mvtec", "test/ and ground_truth/ with a folder for each defect", mvtec),
        ("pairs", "photos and masks side by side, or in images/ and masks/", pairs),
    )
}
WITH_MASK_FILES = ("pairs", "mvtec", "label_studio")  # where --mask_class picks a class
ANY = "pairs"  # what any folder of pictures may be: only where it is nothing else


def recognise(tree: SourceTree) -> tuple[SourceFormat, str]:
    """The format of a source and the file that told; InputError when it is none, or several."""
    found = {
        name: told
        for name, known in FORMATS.items()
        if name != ANY and (told := known.recognise(tree)) is not None
    }
    if len(found) > 1:
        several = ", ".join(f"{name} ({told})" for name, told in found.items())
        raise InputError(f"{tree.root}: holds several formats: {several}; choose one with --from")
    if not found and (problems := broken_json(tree)):
        raise InputError([*problems, f"{tree.root}: if only its pictures count: --from {ANY}"])
    if not found and (told := FORMATS[ANY].recognise(tree)) is not None:
        found = {ANY: told}
    if not found:
        raise InputError(f"{tree.root}: holds {_what(tree)}; --help lists what is read")
    ((name, told),) = found.items()
    return FORMATS[name], told


def _what(tree: SourceTree) -> str:
    """What kinds of files there are instead."""
    if not tree.files:
        return "no files"
    if told := hint_for_pictures([name.rsplit("/", 1)[-1] for name in tree.files]):
        return f"no photos that are read: {told}"
    suffixes = [("." + name.rsplit(".", 1)[-1]) for name in tree.files if "." in name]
    kinds = ", ".join(sorted(set(suffixes))[:6]) or "files without a suffix"
    return f"no photos that are read ({kinds})"

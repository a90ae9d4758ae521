"""The page of the gallery: its fixed files, and the data that it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import atomic_path, write_bytes
from aligndiff.dataset.records import SampleRecord
from aligndiff.gallery.cache import GalleryItem
from aligndiff.gallery.pictures import MaskStats
from aligndiff.gallery.plan import PICTURES, EntrySection, Gallery, SupportSection, support_name

INDEX, DATA = "index.html", "data.js"
_PAGE_FILES = (INDEX, "gallery.css", "gallery.js")
_MOST_EXACT = 2**53  # the largest whole number of a script


def check_output(folder: Path) -> None:
    """Raise InputError when `folder` holds files, and none of them is a gallery's."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PICTURES).is_dir():
        raise InputError(
            f"{folder}: is not empty and holds no gallery; give another folder as --output_dir"
        )


def output_files(folder: Path) -> list[Path]:
    """One file of each folder that the gallery is written into."""
    pages = [folder / name for name in (*_PAGE_FILES, DATA)]
    return [*pages, folder / PICTURES / "any" / "000000.jpg"]


def write_page(gallery: Gallery, title: str) -> Path:
    """Write the page of the pictures that are drawn; returns the file to open."""
    output = gallery.output
    for name in _PAGE_FILES:
        write_bytes(output / name, files("aligndiff.gallery").joinpath("page", name).read_bytes())
    head = {
        "title": title,
        "thumbnailSize": gallery.config.thumbnail_side,
        "pictures": PICTURES,
        "sampleFields": ["name", *_names(SampleRecord), *_names(MaskStats)],
        "pairFields": ["name", "index", *_names(MaskStats)],
        "support": [],
        "entries": [],
    }
    places = {section.folder: number for number, section in enumerate(gallery.support)}
    with atomic_path(output / DATA) as beside, open(beside, "w", encoding="ascii") as file:
        # A statement for each section: the whole of a large dataset is never one text.
        file.write(f"const GALLERY = {_script(head)};\n")
        for section in gallery.support:
            file.write(f"GALLERY.support.push({_script(_support(section))});\n")
        for entry in gallery.entries:
            contents = _entry(entry, places[support_name(entry.entry)])
            file.write(f"GALLERY.entries.push({_script(contents)});\n")
    return output / INDEX


def _script(value: object) -> str:
    r"""JSON that is a script too: everything but ASCII is escaped, and so is "<" (as \u003c)."""
    text = json.dumps(_exact(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _exact(value: Any) -> Any:
    """`value` with the whole numbers that a browser would round (seeds have 63 bits) as text."""
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > _MOST_EXACT else value


def _support(section: SupportSection) -> dict[str, Any]:
    pairs = [[item.name, item.number, *vars(stats).values()] for item, stats in _drawn(section)]
    return {"folder": section.folder, "pictures": section.pictures.name, "pairs": pairs}


def _entry(section: EntrySection, support: int) -> dict[str, Any]:
    """The entry for data.js; `support` is the place of its pairs there."""
    return {
        "id": section.made_with.entry_id,
        "type": section.made_with.type,
        "category": section.made_with.category,
        "support": support,
        "prompt": section.made_with.prompt,
        "model": section.made_with.model,
        "settings": section.made_with.settings,
        "samples": [
            [item.name, *section.rows[item.number], *vars(stats).values()]
            for item, stats in _drawn(section)
        ],
    }


def _names(record: type) -> list[str]:
    return [item.name for item in fields(record)]


def _drawn(section: SupportSection | EntrySection) -> Iterator[tuple[GalleryItem, MaskStats]]:
    for chunk in section.chunks:
        for item in chunk.items:
            if item.number in chunk.stats:
                yield item, chunk.stats[item.number]

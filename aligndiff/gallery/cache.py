"""Which pictures of the gallery are there, made from the same records, and drawing the others.

<folder>/000007.jpg ...      the pictures of number 7, see gallery_pictures.PictureFiles
<folder>/kept_0000.json      what the pictures 0 to 99 were made from, and their stats
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json
from aligndiff.core.prefetch import prefetch_map
from aligndiff.gallery.pictures import MaskStats, PictureFiles

_CHUNK = 100  # items whose stats share a file: as many are drawn again after a broken run
_MOST_THREADS = 8


@dataclass(frozen=True)
class GalleryItem:
    """One sample or support pair: where its pictures go, and how to draw them.

    `key` changes when what the pictures are made from does; `has_heatmap` says whether they
    include one; `draw` reads the files of the dataset and may raise InputError.
    """

    name: str  # of the sample or pair
    number: int  # within its folder of pictures
    files: PictureFiles
    key: str
    has_heatmap: bool
    draw: Callable[[], MaskStats]


_KEPT = TypeAdapter(dict[int, tuple[str, MaskStats]])


@dataclass
class CacheChunk:
    """Up to 100 neighbouring items: those to be drawn, and the stats of the others."""

    path: Path
    items: list[GalleryItem]
    stats: dict[int, MaskStats]  # by the number of the item
    missing: list[GalleryItem]
    problems: list[str] = field(default_factory=list)  # one line for each item that failed

    @classmethod
    def found(cls, path: Path, items: list[GalleryItem], thumbnail_size: int) -> CacheChunk:
        """Takes over the stats of pictures that are there, made from the same records."""
        try:
            kept = _KEPT.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            kept = {}  # nothing there, or not of this version
        known: dict[int, MaskStats] = {}
        for item in items:
            key, stats = kept.get(item.number, ("", None))
            if stats and key == item.key:
                if item.files.are_there(stats, thumbnail_size, item.has_heatmap):
                    known[item.number] = stats
        return cls(path, items, known, [item for item in items if item.number not in known])

    def write(self) -> None:
        keys = {item.number: item.key for item in self.items}
        write_json(self.path, {n: [keys[n], vars(stats)] for n, stats in self.stats.items()})


def find_chunks(folder: Path, size: int, items: Iterable[GalleryItem]) -> list[CacheChunk]:
    """Pieces by their hundreds, whatever is missing between them: one more changes one chunk."""
    return [
        CacheChunk.found(folder / f"kept_{number:04d}.json", list(group), size)
        for number, group in itertools.groupby(items, lambda item: item.number // _CHUNK)
    ]


def draw_missing(chunks: Sequence[CacheChunk], advance: Callable[[], object]) -> None:
    """Draw what the chunks miss, in threads; `advance` is called after every item.

    A chunk is written as soon as it is complete, so that a broken run loses little. Pieces whose
    files cannot be read get no stats, and a line in `problems`.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    for chunk, item, stats in prefetch_map(_draw, _work(chunks), 4 * threads, threads):
        if isinstance(stats, MaskStats):
            chunk.stats[item.number] = stats
        else:
            chunk.problems += [f"{item.name} is left out: {problem}" for problem in stats.problems]
        advance()
        if item is chunk.missing[-1]:
            chunk.write()


def _work(chunks: Iterable[CacheChunk]) -> Iterator[tuple[CacheChunk, GalleryItem]]:
    for chunk in chunks:
        if chunk.missing:
            chunk.path.parent.mkdir(parents=True, exist_ok=True)
            # Broken off half-way, a chunk has pictures of two kinds: none of them counts.
            chunk.path.unlink(missing_ok=True)
        for item in chunk.missing:
            yield chunk, item


def _draw(
    work: tuple[CacheChunk, GalleryItem],
) -> tuple[CacheChunk, GalleryItem, MaskStats | InputError]:
    chunk, item = work
    try:
        return chunk, item, item.draw()
    except InputError as error:
        return chunk, item, error

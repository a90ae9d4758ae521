"""Which pictures of the gallery are there, made from the same records, and drawing the others.

<folder>/000007.jpg ...      the pictures of number 7, see gallery_pictures.PictureFiles
<folder>/kept_0000.json      what the pictures 0 to 99 were made from, and their looks
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
from aligndiff.core.prefetch import mapped_ahead
from aligndiff.gallery.pictures import Look, PictureFiles

_BLOCK = 100  # pieces whose looks share a file: as many are drawn again after a broken run
_MOST_THREADS = 8


@dataclass(frozen=True)
class Piece:
    """One sample or support pair: where its pictures go, and how to draw them.

    `key` changes when what the pictures are made from does; `has_heatmap` says whether they
    include one; `draw` reads the files of the dataset and may raise InputError.
    """

    name: str  # of the sample or pair
    number: int  # within its folder of pictures
    files: PictureFiles
    key: str
    has_heatmap: bool
    draw: Callable[[], Look]


_KEPT = TypeAdapter(dict[int, tuple[str, Look]])


@dataclass
class Block:
    """Up to 100 neighbouring pieces: those to be drawn, and the looks of the others."""

    path: Path
    pieces: list[Piece]
    looks: dict[int, Look]  # by the number of the piece
    missing: list[Piece]
    problems: list[str] = field(default_factory=list)  # one line for each piece that failed

    @classmethod
    def found(cls, path: Path, pieces: list[Piece], thumbnail_size: int) -> Block:
        """Takes over the looks of pictures that are there, made from the same records."""
        try:
            kept = _KEPT.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            kept = {}  # nothing there, or not of this version
        looks: dict[int, Look] = {}
        for piece in pieces:
            key, look = kept.get(piece.number, ("", None))
            if look and key == piece.key:
                if piece.files.are_there(look, thumbnail_size, piece.has_heatmap):
                    looks[piece.number] = look
        return cls(path, pieces, looks, [p for p in pieces if p.number not in looks])

    def write(self) -> None:
        keys = {piece.number: piece.key for piece in self.pieces}
        write_json(self.path, {n: [keys[n], vars(look)] for n, look in self.looks.items()})


def find_blocks(folder: Path, size: int, pieces: Iterable[Piece]) -> list[Block]:
    """Pieces by their hundreds, whatever is missing between them: one more changes one block."""
    return [
        Block.found(folder / f"kept_{number:04d}.json", list(group), size)
        for number, group in itertools.groupby(pieces, lambda piece: piece.number // _BLOCK)
    ]


def draw_missing(blocks: Sequence[Block], advance: Callable[[], object]) -> None:
    """Draw what the blocks miss, in threads; `advance` is called after every piece.

    A block is written as soon as it is complete, so that a broken run loses little. Pieces whose
    files cannot be read get no look, and a line in `problems`.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    for block, piece, look in mapped_ahead(_draw, _work(blocks), 4 * threads, threads):
        if isinstance(look, Look):
            block.looks[piece.number] = look
        else:
            block.problems += [f"{piece.name} is left out: {problem}" for problem in look.problems]
        advance()
        if piece is block.missing[-1]:
            block.write()


def _work(blocks: Iterable[Block]) -> Iterator[tuple[Block, Piece]]:
    for block in blocks:
        if block.missing:
            block.path.parent.mkdir(parents=True, exist_ok=True)
            # Broken off half-way, a block has pictures of two kinds: none of them counts.
            block.path.unlink(missing_ok=True)
        for piece in block.missing:
            yield block, piece


def _draw(work: tuple[Block, Piece]) -> tuple[Block, Piece, Look | InputError]:
    block, piece = work
    try:
        return block, piece, piece.draw()
    except InputError as error:
        return block, piece, error

"""The contact sheet of prepared pairs: each photo with its object outlined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.support import find_pairs, load_pair
from aligndiff.render.sheet import grid, mask_tile, write_sheet

_ACROSS, _LINES = 6, 3  # pairs of a category
_TILE = 192  # px: large enough to see a mask that is off


def write_pair_sheet(dataset_dir: Path, folders: Mapping[str, str]) -> Path:
    """Draw the first pairs of each category's folder; returns the sheet's path."""
    rows: list[list[Uint8 | None]] = []
    titles: list[str] = []
    for category, folder in folders.items():
        found = find_pairs(dataset_dir / folder)
        shown = [load_pair(paths) for paths in found[: _ACROSS * _LINES]]
        tiles = [mask_tile(pair.image, pair.mask, _TILE) for pair in shown]
        lines = [tiles[start : start + _ACROSS] for start in range(0, len(tiles), _ACROSS)]
        rows += [[*line] for line in lines]
        titles += [category, *[""] * (len(lines) - 1)]
        if len(found) > len(shown):
            titles[-1] = titles[-1] or f"{len(found) - len(shown)} more"
    path = dataset_dir / "sheets" / "0_pairs.png"
    title = "Pairs: is the object, and nothing else, outlined?"
    write_sheet(path, grid(rows, title=title, row_titles=titles, tile=_TILE))
    return path

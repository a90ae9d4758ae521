"""The options of the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.options import Options, option


@dataclass(frozen=True)
class ViewOptions(Options):
    """Which dataset, and where the gallery goes."""

    dataset_dir: Path = option(help="folder that holds dataset.json")
    categories: tuple[str, ...] = option((), "show these categories only (default: all of them)")
    output_dir: Path | None = option(
        None, "folder of the gallery", shown_default="DATASET_DIR/gallery"
    )


@dataclass(frozen=True)
class GalleryConfig(Options):
    """How the gallery is made."""

    thumbnail_side: int = option(160, "longer side of a thumbnail", 32, 512, unit="px")
    max_samples: int = option(
        0, "show at most this many samples of an entry, evenly chosen; 0 is all", 0
    )

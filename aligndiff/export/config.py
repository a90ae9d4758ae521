"""The options of every export: which samples, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.options import Options, option
from aligndiff.dataset.samples import EXCLUDE_HELP

Source = Literal["consensus", "pseudo_label", "scene"]
_SOURCES: tuple[Source, ...] = ("consensus", "pseudo_label", "scene")


@dataclass(frozen=True)
class SelectionConfig(Options):
    """Which samples are taken, and which of them are kept for validation."""

    categories: tuple[str, ...] = option((), "take these categories only (default: all of them)")
    sources: tuple[Source, ...] = option(
        _SOURCES, "which samples, by their mask, and composed scenes"
    )
    min_iou: float = option(
        0.0,
        "take samples whose `iou` (segmenter and heatmap) is at least this; scenes have none",
        0,
        1,
    )
    min_score: float = option(
        0.0, "take samples whose `score` (how sure the mask is) is at least this", 0, 1
    )
    min_likeness: float = option(
        0.0,
        "take samples whose `likeness` (of the object to the support's) is at least this; scenes "
        "have none",
        0,
        1,
    )
    min_area: float = option(0.0, "the object covers at least this part of the image", 0, 1)
    max_area: float = option(1.0, "the object covers at most this part of the image", 0, 1)
    max_per_class: int | None = option(
        None,
        "at most this many samples of a category: consensus first, then the highest iou",
        1,
        shown_default="all",
    )
    exclude: Path | None = option(None, EXCLUDE_HELP)
    include_support: bool = option(False, "take the real pairs too; they go to the training split")
    val_fraction: float = option(
        0.1, "part of the samples that goes to the validation split", 0, below=1
    )
    seed: int = option(0, "random seed of the split, and of the order within webdataset shards")

    def contradictions(self) -> list[str]:
        if self.min_area > self.max_area:
            return [f"--min_area {self.min_area} is above --max_area {self.max_area}"]
        return []


@dataclass(frozen=True)
class TargetConfig(Options):
    """Where the export goes, and whether it may replace an earlier one."""

    dataset_dir: Path = option(help="folder that holds dataset.json")
    output_dir: Path | None = option(
        None, "a new or empty folder", shown_default="<dataset_dir>/exports/<format>"
    )
    overwrite: bool = option(False, "replace an earlier export in that folder")

    def folder(self, format_name: str) -> Path:
        """Where an export of that format goes."""
        return self.output_dir or self.dataset_dir / "exports" / format_name

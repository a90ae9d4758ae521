"""The options of every export: which samples, and where they go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from aligndiff.core.errors import InputError
from aligndiff.dataset.records import MaskSource
from aligndiff.dataset.samples import EXCLUDE_HELP

_SOURCES: tuple[str, ...] = get_args(MaskSource)


@dataclass(frozen=True)
class SelectionConfig:
    """Which samples are taken, and which of them are kept for validation."""

    categories: tuple[str, ...] = field(
        default=(), metadata={"help": "take these categories only (default: all of them)"}
    )
    sources: tuple[str, ...] = field(
        default=_SOURCES,
        metadata={"help": "where masks may come from; a comma may stand between them too"},
    )
    min_iou: float = field(
        default=0.0,
        metadata={"help": "take samples whose `iou` (segmenter and heatmap) is at least this"},
    )
    min_area: float = field(
        default=0.0, metadata={"help": "the object covers at least this part of the image, 0 to 1"}
    )
    max_area: float = field(
        default=1.0, metadata={"help": "the object covers at most this part of the image, 0 to 1"}
    )
    max_per_class: int | None = field(
        default=None,
        metadata={
            "help": "at most this many samples of a category: consensus first, then the highest "
            "iou (default: all)"
        },
    )
    exclude: Path | None = field(default=None, metadata={"help": EXCLUDE_HELP})
    include_support: bool = field(
        default=False, metadata={"help": "take the real pairs too; they go to the training split"}
    )
    val_fraction: float = field(
        default=0.1,
        metadata={"help": "part of the samples that goes to the validation split, 0 to below 1"},
    )
    seed: int = field(
        default=0, metadata={"help": "of the split, and of the order within webdataset shards"}
    )

    def __post_init__(self) -> None:
        names = [name for typed in self.sources for name in typed.split(",") if name]
        object.__setattr__(self, "sources", tuple(name for name in _SOURCES if name in names))
        problems = [
            f"--sources: unknown source {name!r}; there are {' and '.join(_SOURCES)}"
            for name in names
            if name not in _SOURCES
        ]
        if not names:
            problems.append(f"--sources: names none; there are {' and '.join(_SOURCES)}")
        for name in ("min_iou", "min_area", "max_area"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(f"--{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.min_area > self.max_area:
            problems.append(f"--min_area {self.min_area} is above --max_area {self.max_area}")
        if self.max_per_class is not None and self.max_per_class < 1:
            problems.append(f"--max_per_class must be at least 1, not {self.max_per_class}")
        if not 0 <= self.val_fraction < 1:
            problems.append(f"--val_fraction must be from 0 to below 1, not {self.val_fraction}")
        if problems:
            raise InputError(problems)


@dataclass(frozen=True)
class TargetConfig:
    """Where the export goes, and whether it may replace an earlier one."""

    dataset_dir: Path = field(metadata={"help": "folder that holds dataset.json"})
    output_dir: Path | None = field(
        default=None,
        metadata={"help": "a new or empty folder (default: <dataset_dir>/exports/<format>)"},
    )
    overwrite: bool = field(
        default=False, metadata={"help": "replace an earlier export in that folder"}
    )

    def folder(self, format_name: str) -> Path:
        """Where an export of that format goes."""
        return self.output_dir or self.dataset_dir / "exports" / format_name

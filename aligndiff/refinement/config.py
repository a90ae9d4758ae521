"""The options of step 3."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.options import MOST_IN_A_BATCH, MOST_IN_A_SHARD


@dataclass(frozen=True)
class RefinementConfig:
    """The thresholds of Algorithm 1. Everything but the batch size decides the masks."""

    consensus_iou_threshold: float = field(
        default=0.8,
        metadata={"help": "a mask is agreed when its IoU with the heatmap is above this, 0 to 1"},
    )
    foreground_threshold: float = field(
        default=0.4,
        metadata={"help": "object where the first pass's probability is above this, 0 to 1"},
    )
    heatmap_threshold: float = field(
        default=0.4, metadata={"help": "object where the heatmap / 255 is above this, 0 to 1"}
    )
    pseudo_label_threshold: float = field(
        default=0.5,
        metadata={"help": "object where the second pass's probability is above this, 0 to 1"},
    )
    support_weight: float = field(
        default=0.5,
        metadata={"help": "weight of the real pairs in the second pass, the trusted have the rest"},
    )
    batch_size: int = field(
        default=8, metadata={"help": "images segmented at once; changes speed and memory only"}
    )

    def __post_init__(self) -> None:
        problems = [
            f"--{name} must be from 0 to 1, not {getattr(self, name)}"
            for name in (
                "consensus_iou_threshold",
                "foreground_threshold",
                "heatmap_threshold",
                "pseudo_label_threshold",
            )
            if not 0 <= getattr(self, name) <= 1
        ]
        if not 0 < self.support_weight < 1:
            problems.append(f"--support_weight must be between 0 and 1, not {self.support_weight}")
        if not 1 <= self.batch_size <= MOST_IN_A_BATCH:
            problems.append(
                f"--batch_size must be from 1 to {MOST_IN_A_BATCH}, not {self.batch_size}"
            )
        if problems:
            raise InputError(problems)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks, as the entry's record keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "batch_size"}


@dataclass(frozen=True)
class ShardOptions:
    """Whether finished samples are packed."""

    shard_size: int | None = field(
        default=None,
        metadata={
            "help": "pack the samples of every finished entry into tar files (WebDataset) of so "
            f"many each, up to {MOST_IN_A_SHARD}; 1000 suits most (default: loose files)"
        },
    )

    def __post_init__(self) -> None:
        if self.shard_size is not None and not 1 <= self.shard_size <= MOST_IN_A_SHARD:
            raise InputError(
                f"--shard_size must be from 1 to {MOST_IN_A_SHARD}, not {self.shard_size}; leave "
                "it out for loose files"
            )

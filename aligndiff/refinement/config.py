"""The options of step 3."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aligndiff.core.options import MAX_BATCH, MAX_SHARD, Options, option


@dataclass(frozen=True)
class RefinementConfig(Options):
    """The thresholds of Algorithm 1. Everything but the batch size decides the masks."""

    consensus_iou_threshold: float = option(
        0.8, "IoU of mask and heatmap above which a sample is consensus", 0, 1
    )
    foreground_threshold: float = option(
        0.4, "object where the first pass's probability is above this", 0, 1
    )
    heatmap_threshold: float = option(0.4, "object where the heatmap / 255 is above this", 0, 1)
    pseudo_label_threshold: float = option(
        0.5, "object where the second pass's probability is above this", 0, 1
    )
    support_weight: float = option(
        0.5,
        "weight of the real pairs in the second pass; the trusted samples have the rest",
        above=0,
        below=1,
    )
    batch_size: int = option(
        8, "images segmented at once; changes speed and memory only", 1, MAX_BATCH
    )

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks, as the entry's record keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "batch_size"}


@dataclass(frozen=True)
class ShardOptions(Options):
    """Whether finished samples are packed."""

    shard_size: int | None = option(
        None,
        "pack the samples of every finished entry into tar files (WebDataset) of this many "
        "samples each; 1000 suits most",
        1,
        MAX_SHARD,
        shown_default="loose files",
    )

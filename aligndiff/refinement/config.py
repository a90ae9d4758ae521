"""The options of step 3."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from aligndiff.core.options import MAX_BATCH, MAX_SHARD, Options, option
from aligndiff.masks.options import REGIONS, REGIONS_HELP, MaskOptions

DENOISING = "denoising"  # of --regions
AS_PUBLISHED = {
    ("agreement", "method"),
    ("refine_edges", "none"),
    ("edge_model", None),
    ("regions", "all"),
    ("region_model", None),
    ("min_likeness", 0.0),
}


@dataclass(frozen=True)
class RefinementConfig(MaskOptions):
    """Algorithm 1's thresholds, and how maps become masks. All but the batch size decides masks.

    With refine_edges "none", regions "all" and agreement "method" it is the published method.
    """

    regions: str = option(
        "object",
        REGIONS_HELP + "; denoising: the diffusion model says which of several are of the class",
        choices=(*REGIONS, DENOISING),
    )
    region_model: str | None = option(
        None,
        "diffusion model of --regions denoising, as in step 2",
        shown_default="the one of dataset.json",
    )
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
    agreement: Literal["score", "method"] = option(
        "score",
        "what makes a sample consensus: its score, with a threshold found on the support pairs, "
        "where heatmaps come from these (step 2: --heatmap refined or support), or the published "
        "IoU, which decides elsewhere too",
    )
    min_likeness: float = option(
        0.0,
        "reject what is less like the support's objects than this; 1/2 is as like as these are to "
        "each other",
        0,
        1,
    )
    batch_size: int = option(
        8, "images segmented at once; changes speed and memory only", 1, MAX_BATCH
    )

    def contradictions(self) -> list[str]:
        if self.region_model is not None and self.regions != DENOISING:
            way = f"--regions {self.regions}"
            return [*super().contradictions(), f"--region_model: {way} asks no model; leave it out"]
        return super().contradictions()

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks, as the entry's record keeps it.

        What is as published is absent: records are from before there was a choice.
        """
        kept = {name: value for name, value in asdict(self).items() if name != "batch_size"}
        return {name: value for name, value in kept.items() if (name, value) not in AS_PUBLISHED}


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

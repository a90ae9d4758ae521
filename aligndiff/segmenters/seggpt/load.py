"""SegGPT as a segmenter that can be chosen: where its weights lie, and its loading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aligndiff.core.weights import ModelChoice
from aligndiff.segmenters.pretrained import (
    load_pretrained,
    named_or_default,
    pretrained_identity,
)

if TYPE_CHECKING:
    import torch

    from aligndiff.segmenters.seggpt.segmenter import SegGptSegmenter

DEFAULT_MODEL = "BAAI/seggpt-vit-large"


def resolve_checkpoint(flag: str | None, default: str | None) -> ModelChoice:
    """The folder or hub name of the flag, else the published weights. `default` is not asked."""
    return named_or_default(flag, DEFAULT_MODEL)


identity = pretrained_identity


def load(
    choice: ModelChoice, device: torch.device, dtype: torch.dtype, batch_size: int
) -> SegGptSegmenter:
    """SegGPT on a device; it segments one image at a time, whatever `batch_size` says."""

    def from_pretrained(local_only: bool) -> SegGptSegmenter:
        from transformers import SegGptForImageSegmentation, SegGptImageProcessor

        from aligndiff.segmenters.seggpt.segmenter import SegGptSegmenter

        at = {"local_files_only": local_only}
        network = SegGptForImageSegmentation.from_pretrained(choice.location, **at)
        processor = SegGptImageProcessor.from_pretrained(choice.location, **at)
        return SegGptSegmenter(network, processor, device, dtype)

    return load_pretrained(choice, from_pretrained)

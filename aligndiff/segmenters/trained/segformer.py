"""SegFormer of transformers as a segmenter of one class, from weights that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from aligndiff.core.errors import InputError
from aligndiff.segmenters.trained.small import enlarged

if TYPE_CHECKING:
    from transformers import SegformerForSemanticSegmentation

SEGFORMER_MULTIPLE = 32  # px: it reduces images 32 times
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, RGB in [0, 1]


class SegFormer(nn.Module):
    """The same as `SmallSegmenter` to whoever trains it: signed images in, logits out."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: SegformerForSemanticSegmentation) -> None:
        super().__init__()
        self.network = network
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        self.register_buffer("mean", 2 * mean - 1, persistent=False)
        self.register_buffer("std", 2 * std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return enlarged(self.network((images - self.mean) / self.std).logits, images)


def load_segformer(location: str | Path, local_files_only: bool = False) -> SegFormer:
    """Its encoder and decoder with a new head of one class: that of the file has other classes.

    InputError for a model of another kind; OSError where there is none.
    """
    from transformers import AutoConfig, SegformerForSemanticSegmentation

    config = AutoConfig.from_pretrained(location, local_files_only=local_files_only)
    if config.model_type != "segformer":
        raise InputError(
            f"--model {location}: is a {config.model_type}, not a segformer; give one, such as a "
            "folder of nvidia/mit-b0, or leave --model out"
        )
    network = SegformerForSemanticSegmentation.from_pretrained(
        location,
        id2label={0: "object"},
        label2id={"object": 0},
        ignore_mismatched_sizes=True,
        local_files_only=local_files_only,
    )
    return SegFormer(network)

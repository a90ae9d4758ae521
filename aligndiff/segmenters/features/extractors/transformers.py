"""Any vision backbone of transformers: DINOv2 by default, DINOv3, and what else AutoBackbone knows.

The calls are the library's own: the maps are those of `AutoBackbone`, which for DINOv2 are the
normalised patch tokens of `Dinov2Model`, laid out as an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.segmenters.pretrained import (
    load_pretrained,
    pretrained_identity,
    resolve_pretrained,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

DEFAULT_MODEL = "facebook/dinov2-base"
SIDE = 518  # px: 37 patches of 14, as DINOv2 was trained
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # where a model tells none
# Transformers whose position embeddings are added show them in every layer (INSID3, 2026).
POSITIONS = ("dinov3_vit",)


resolve, identity = resolve_pretrained, pretrained_identity


def load(choice: ModelChoice, device: torch.device, dtype: torch.dtype) -> TransformersBackbone:
    """See `table`. Raises MissingWeightsError for what neither this machine nor the hub has."""

    def from_pretrained(local_only: bool) -> TransformersBackbone:
        import transformers
        from transformers.image_processing_base import ImageProcessingMixin
        from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING

        place, at = str(choice.location), {"local_files_only": local_only}
        config = transformers.AutoConfig.from_pretrained(place, **at)
        if type(config) not in MODEL_FOR_BACKBONE_MAPPING:
            raise InputError(
                f"segmenter weights {choice}: {config.model_type} is no vision backbone of "
                f"transformers; take another, such as {DEFAULT_MODEL}"
            )
        # A pyramid's last two levels: where, and what it is. A plain transformer has one.
        config.out_indices = [-2, -1] if hasattr(config, "depths") else [-1]
        # AutoBackbone's own class of it: AutoBackbone asks the hub for a folder, too.
        kind = MODEL_FOR_BACKBONE_MAPPING[type(config)]
        network = kind.from_pretrained(place, config=config, **at)
        try:
            says, _ = ImageProcessingMixin.get_image_processor_dict(place, **at)
        except OSError:  # a model need not tell how its images were normalised
            says = {}
        return TransformersBackbone(network, says, device, dtype)

    return load_pretrained(choice, from_pretrained)


class TransformersBackbone:
    """The feature maps of a backbone, see `Extractor`."""

    def __init__(
        self, network: nn.Module, says: dict[str, Any], device: torch.device, dtype: torch.dtype
    ) -> None:
        """`says` is the model's preprocessor_config.json: mean and spread of its images."""
        self.network = network.eval().requires_grad_(False).to(device, dtype)
        self.device, self.dtype = device, dtype
        config: Any = network.config
        patch = getattr(config, "patch_size", 1)
        self.multiple = 32 if hasattr(config, "depths") else patch
        self.sides = (SIDE // self.multiple * self.multiple,)
        self.has_positions = config.model_type in POSITIONS
        self.mean = says.get("image_mean") or IMAGE_MEAN
        self.std = says.get("image_std") or IMAGE_STD

    def __call__(self, images: Tensor) -> list[Tensor]:
        """See `Extractor`."""
        import torch

        mean, std = (torch.tensor(v, device=images.device) for v in (self.mean, self.std))
        x = ((images - mean[:, None, None]) / std[:, None, None]).to(self.dtype)
        return [maps.float() for maps in self.network(x).feature_maps]

"""Any vision backbone of transformers: DINOv2 by default, DINOv3, and what else AutoBackbone knows.

The calls are the library's own: the maps are those of `AutoBackbone`, which for DINOv2 are the
normalised patch tokens of `Dinov2Model`, laid out as an image.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.files import file_fingerprint, fingerprint, typed_path
from aligndiff.core.hub import HUB_NAME, from_disk_or_hub
from aligndiff.core.weights import ModelChoice

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

DEFAULT_MODEL = "facebook/dinov2-base"
SIDE = 518  # px: 37 patches of 14, as DINOv2 was trained
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # where a model tells none
# Transformers whose position embeddings are added show them in every layer (INSID3, 2026).
POSITIONS = ("dinov3_vit",)


def resolve(name: str, source: str) -> ModelChoice | None:
    """See `table`: a folder with a config.json, or a hub name."""
    folder = typed_path(name)
    if os.path.isdir(folder):
        if not os.path.isfile(folder / CONFIG):
            raise InputError(
                f"feature network {name} ({source}): the folder has no {CONFIG}; "
                "name the folder that holds the model of transformers"
            )
        return ModelChoice(name, folder, source)
    return ModelChoice(name, name, source) if HUB_NAME.fullmatch(name) else None


def identity(choice: ModelChoice) -> str:
    """A hub name, or a folder's name with a fingerprint of what is in it."""
    if isinstance(choice.location, str):
        return choice.location
    files = sorted(choice.location.glob("*.json")) + sorted(choice.location.glob("*.safetensors"))
    prints = [[path.name, file_fingerprint(path)] for path in files]
    return f"{choice.location.resolve().name} {fingerprint(prints)}"


def load(choice: ModelChoice, device: torch.device, dtype: torch.dtype) -> TransformersBackbone:
    """See `table`. Raises MissingWeightsError for what neither this machine nor the hub has."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

    def from_pretrained(local_only: bool) -> TransformersBackbone:
        at = {"local_files_only": local_only}
        config = transformers.AutoConfig.from_pretrained(choice.location, **at)
        if not hasattr(config, "out_indices"):
            raise InputError(
                f"feature network {choice}: {config.model_type} is no vision backbone of "
                "transformers; take another, such as facebook/dinov2-base"
            )
        # A pyramid's last two levels: where, and what it is. A plain transformer has one.
        config.out_indices = [-2, -1] if hasattr(config, "depths") else [-1]
        network = transformers.AutoBackbone.from_pretrained(choice.location, config=config, **at)
        try:
            says, _ = transformers.ImageProcessingMixin.get_image_processor_dict(
                choice.location, **at
            )
        except OSError:
            says = {}
        return TransformersBackbone(network, says, device, dtype)

    return from_disk_or_hub(choice, from_pretrained, _missing)


def _missing(choice: ModelChoice, reason: str) -> MissingWeightsError:
    text = " ".join(reason.split())
    short = text if len(text) <= 160 else text[:157] + "..."
    where = "folder" if isinstance(choice.location, Path) else "hub or its local cache"
    return MissingWeightsError(
        f"feature network {choice}: cannot be loaded from the {where} ({short}); without a hub: "
        "--segmenter_model efficientnet-lite0 (docs/SEGMENTERS.md)"
    )


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

"""The backbone of an SSP checkpoint; of the embedded tiny one for the drawn tiny world."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.files import file_fingerprint
from aligndiff.core.weights import TINY, ModelChoice
from aligndiff.segmenters.ssp.load import resolve_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from aligndiff.segmenters.ssp.checkpoint import SSPCheckpoint

SUFFIXES = (".pth", ".pt", ".safetensors")
DEFAULT_SIDE = 473  # px, of the published checkpoints' training, where the file does not tell
MULTIPLE = 8  # px: the stride of the features


def resolve(name: str, source: str) -> ModelChoice | None:
    """See `table`: "tiny", or a checkpoint file. MissingWeightsError when it is not there."""
    if name != TINY and not name.endswith(SUFFIXES):
        return None
    found = resolve_checkpoint(name, None, "--segmenter_model")
    return ModelChoice(name, found.location, source)


def identity(choice: ModelChoice) -> str:
    return f"{Path(choice.location).name} {file_fingerprint(choice.location)}"


def load(choice: ModelChoice, device: torch.device, dtype: torch.dtype) -> SSPBackbone:
    from aligndiff.segmenters.ssp.checkpoint import load_ssp

    return SSPBackbone(load_ssp(Path(choice.location)), device, dtype)


class SSPBackbone:
    """Features of layer1 and layer3, see `Extractor`, at 1/8 of the image both."""

    multiple, has_positions = MULTIPLE, False

    def __init__(self, checkpoint: SSPCheckpoint, device: torch.device, dtype: torch.dtype) -> None:
        from aligndiff.segmenters.ssp.network import fold_batch_norm

        self.network = fold_batch_norm(checkpoint.network).to(device, dtype)
        self.sides = (checkpoint.input_side or DEFAULT_SIDE,)
        self.device, self.dtype = device, dtype

    def __call__(self, images: Tensor) -> list[Tensor]:
        """See `Extractor`."""
        import torch

        from aligndiff.segmenters.ssp.network import IMAGE_MEAN, IMAGE_STD

        mean, std = (torch.tensor(v, device=images.device) for v in (IMAGE_MEAN, IMAGE_STD))
        x = ((images - mean[:, None, None]) / std[:, None, None]).to(self.dtype)
        looks = self.network.layer1(self.network.layer0(x))
        return [self.network.layer3(self.network.layer2(looks)).float(), looks.float()]

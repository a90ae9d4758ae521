"""A small U-Net, trained from nothing: a segmenter of one class that needs no download."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64, 64)  # channels at a half, a quarter ... of the input's resolution
SMALL_MULTIPLE = 2 ** len(WIDTHS)  # the sides of its inputs are multiples of this, in px


class SmallSegmenter(nn.Module):
    """Works at a half of its input's resolution and below: 330,000 weights.

    Images float (b, 3, h, w) in [-1, 1] to logits float32 (b, 1, h, w), positive on the object.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, widths[0], stride=2))
        steps = list(zip((widths[0], *widths), widths, strict=False))
        self.down = nn.ModuleList(_convolutions(*step) for step in steps)
        climbs = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(_convolutions(low + high, high) for low, high in climbs)
        self.head = nn.Conv2d(widths[0], 1, 1)

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

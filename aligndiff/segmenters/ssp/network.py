"""SSP, the few-shot segmenter of Algorithm 1: a dilated ResNet, a head of self-support prototypes.

Source: "Self-Support Few-Shot Semantic Segmentation" (ECCV 2022). The network keeps the parameter
names of the published checkpoints. The head is pure functions of features and prototypes, and is
differentiable, so that episodes train the network through it.

Notation: features are float (b, c, h, w); *cells* are the columns of one feature map, as rows:
(n, c) with n = h * w; logits are (b, 2, h, w) with channel 0 background and channel 1 foreground.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aligndiff.segmenters.ssp.self_support import self_support, similarity

IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB in [0, 1]
IMAGE_STD = (0.229, 0.224, 0.225)

EXPANSION = 4  # output channels of a bottleneck block over its inner channels
POOLING_EPSILON = 1e-5  # keeps an empty mask's average at zero


@dataclass(frozen=True)
class SSPConfig:
    """The size of the network. The defaults are the published ResNet-101."""

    width: int = 64  # channels of the first convolution; features have 16 times as many
    blocks: tuple[int, int, int] = (3, 4, 23)  # bottleneck blocks of layer1, layer2, layer3

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")
        if len(self.blocks) != 3 or min(self.blocks) < 1:
            raise ValueError(f"blocks must be three positive numbers, not {self.blocks}")

    @property
    def feature_width(self) -> int:
        """Channels of the features (1024 for the published networks)."""
        return 4 * EXPANSION * self.width


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3 (stride and dilation here), 1x1, each with batch normalisation."""

    def __init__(
        self, channels: int, planes: int, stride: int, dilation: int, last_relu: bool
    ) -> None:
        super().__init__()
        out = planes * EXPANSION
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(
            planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))
        self.last_relu = last_relu

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels, h, w) to (b, 4 * planes, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = self.bn3(self.conv3(x)) + shortcut
        return F.relu(x, inplace=True) if self.last_relu else x


class SSP(nn.Module):
    """The feature network: a deep-stem ResNet cut after layer3, at 1/8 of the input size."""

    def __init__(self, config: SSPConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SSPConfig()
        s, (n1, n2, n3) = config.width, config.blocks
        self.layer0 = _stem(s)
        self.layer1 = _layer(2 * s, s, n1)
        self.layer2 = _layer(EXPANSION * s, 2 * s, n2, stride=2)
        # Dilation 2 stands in for the stride of an ordinary ResNet, hence 1/8 and not 1/16. The
        # last block ends without ReLU, so that cosines may be negative.
        self.layer3 = _layer(2 * EXPANSION * s, 4 * s, n3, dilation=2, last_relu=False)

    def backbone(self, images: Tensor) -> Tensor:
        """Features, float (b, 16 * width, ceil(h / 8), ceil(w / 8)), of normalised images.

        `images` is float (b, 3, h, w) as `image_tensor` makes it. Features of a query do not depend
        on the support: computed once, they serve any number of prototypes.
        """
        features: Tensor = self.layer3(self.layer2(self.layer1(self.layer0(images))))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """The same as `backbone`."""
        return self.backbone(images)


def _stem(s: int) -> nn.Sequential:
    convolutions = nn.Sequential(
        nn.Conv2d(3, s, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(s),
        nn.ReLU(inplace=True),
        nn.Conv2d(s, s, 3, padding=1, bias=False),
        nn.BatchNorm2d(s),
        nn.ReLU(inplace=True),
        nn.Conv2d(s, 2 * s, 3, padding=1, bias=False),
    )
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(convolutions, nn.BatchNorm2d(2 * s), nn.ReLU(inplace=True), pool)


def _layer(
    channels: int,
    planes: int,
    blocks: int,
    stride: int = 1,
    dilation: int = 1,
    last_relu: bool = True,
) -> nn.Sequential:
    """A row of blocks. The first one has the stride and is never dilated."""
    row = [Bottleneck(channels, planes, stride, 1, last_relu or blocks > 1)]
    for index in range(1, blocks):
        relu = last_relu or index < blocks - 1
        row.append(Bottleneck(planes * EXPANSION, planes, 1, dilation, relu))
    return nn.Sequential(*row)


def fold_batch_norm(network: SSP) -> SSP:
    """A copy for inference whose batch normalisations are folded into the convolutions before them.

    It computes the same, to rounding, and cannot be trained further.
    """
    folded = copy.deepcopy(network).eval()
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    layers = [(name, layer) for name, layer in folded.named_modules() if isinstance(layer, kinds)]
    # Every convolution is followed by its normalisation, also in the order of the modules.
    for (name, convolution), (norm_name, norm) in zip(layers[::2], layers[1::2], strict=True):
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        folded.set_submodule(name, fuse_conv_bn_eval(convolution, norm))
        folded.set_submodule(norm_name, nn.Identity())
    return folded


def image_tensor(image: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """Normalise RGB, uint8 (h, w, 3) or (b, h, w, 3), to float32 (3, h, w) or (b, 3, h, w)."""
    scaled = torch.from_numpy(np.ascontiguousarray(image)).to(device).float() / 255.0
    mean, std = (torch.tensor(values, device=device) for values in (IMAGE_MEAN, IMAGE_STD))
    normalised = (scaled - mean) / std
    return normalised.movedim(-1, -3).contiguous()


def masked_average_pooling(features: Tensor, mask: Tensor) -> Tensor:
    """Prototypes, float (b, c): the mean of `features` (b, c, h, w) under `mask`, one per image.

    `mask` is (b, H, W), bool or float in [0, 1], at any resolution; it is resized bilinearly
    (corners aligned) to the features. An empty mask gives zeros. An object so small that the
    resize steps over it counts with the cells that contain it instead of vanishing.
    """
    mask = mask.to(features.dtype).unsqueeze(1)
    size = (features.shape[-2], features.shape[-1])
    grid = F.interpolate(mask, size=size, mode="bilinear", align_corners=True)
    missed = grid.sum(dim=(2, 3), keepdim=True) == 0
    if missed.any():
        # On the CPU: not every device pools to sizes that do not divide evenly.
        grid = torch.where(missed, F.adaptive_avg_pool2d(mask.cpu(), size).to(grid), grid)
    total = (features * grid).sum(dim=(2, 3))
    return total / (grid.sum(dim=(2, 3)) + POOLING_EPSILON)


def ssp_logits(
    query_features: Tensor,
    fg_prototype: Tensor,
    bg_prototype: Tensor,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Both rounds of SSP: logits `out1` and `out2`, each (b, 2, h, w) at the features' resolution.

    `query_features` is float (b, c, h, w); a prototype is (c,) for all queries or (b, c), one each.
    The answer is `out2`; `out1` is what a trainer supervises beside it. `dtype`: the format of the
    products of `self_support`; None: that of the features.
    """
    count, width, *grid = query_features.shape
    prototypes = (p.expand(count, width) for p in (fg_prototype, bg_prototype))
    queries = zip(query_features.flatten(2).transpose(1, 2), *prototypes, strict=True)
    rounds = zip(*(_two_rounds(cells, f0, b0, dtype) for cells, f0, b0 in queries), strict=True)
    out1, out2 = (torch.stack(logits).transpose(1, 2).unflatten(2, grid) for logits in rounds)
    return out1, out2


def _two_rounds(
    cells: Tensor, f0: Tensor, b0: Tensor, dtype: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """`out1` and `out2` of one query, each (n, 2), from its cells (n, c) and prototypes (c,)."""
    directions = F.normalize(cells, dim=1)
    out0 = similarity(directions, f0, b0)
    own_foreground, b1, sums = self_support(cells, directions, out0, dtype=dtype)
    f1 = 0.5 * f0 + 0.5 * own_foreground
    out1 = similarity(directions, f1, b1)

    own_foreground, b2, _ = self_support(cells, directions, out1, sums, dtype)
    f2 = 0.5 * f0 + 0.5 * own_foreground
    foreground = 0.5 * f0 + 0.2 * f1 + 0.3 * f2
    background = 0.5 * b0 + 0.2 * b1 + 0.3 * b2
    out2 = 0.7 * similarity(directions, foreground, background) + 0.3 * out1
    return out1, out2


def foreground_probability(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Foreground probability, float (b, *size) in [0, 1], of logits (b, 2, h, w).

    The logits are resized bilinearly (corners aligned) before the softmax.
    """
    resized = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
    return resized.softmax(dim=1)[:, 1]

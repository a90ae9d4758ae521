"""Heatmaps from the attention maps of a drawing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# A maximum of zero, which only an underflow can make, must not turn a map into NaN.
SMALLEST_MAXIMUM = torch.finfo(torch.float32).tiny


def fuse_heatmap(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Fuse the maps of all resolutions and tokens into float32 (samples, h, w), at most 1.

    `maps` are float32 (samples, tokens, h_i, w_i), `size` is the image's (h, w). Each map is
    resized (bicubic, a = -0.75), then divided by its own maximum; the resolutions are averaged,
    then the tokens. Bicubic overshoot can leave values a little below 0.
    """
    fused = torch.zeros(*maps[0].shape[:2], *size, device=maps[0].device)
    for coarse in maps:
        full = _bicubic(coarse.shape[-2], size[0], coarse) @ coarse
        full = full @ _bicubic(coarse.shape[-1], size[1], coarse).T
        maximum = full.amax((-2, -1), keepdim=True).clamp_min(SMALLEST_MAXIMUM)
        fused.addcmul_(full, maximum.reciprocal())
    return fused.mean(1) / len(maps)


def _bicubic(positions: int, pixels: int, like: Tensor) -> Tensor:
    """The bicubic resize of one axis as a matrix, (pixels, positions): quicker than a resize.

    An axis that keeps its length is left as it is, so a resized identity is that matrix.
    """
    identity = torch.eye(positions, dtype=like.dtype, device=like.device)[None, None]
    resized = functional.interpolate(identity, size=(pixels, positions), mode="bicubic")
    return resized[0, 0]


def heatmap_to_uint8(heatmap: Tensor) -> NDArray[np.uint8]:
    """Grey levels uint8 of a float heatmap of any shape: clipped to [0, 1], x 255, truncated."""
    return (heatmap.clamp(0, 1) * 255).to(torch.uint8).cpu().numpy()

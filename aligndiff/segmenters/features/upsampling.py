"""A coarse map brought to the size of its image, with the image's edges.

He, Sun, Tang: "Guided Image Filtering" (ECCV 2010): in every window the map is a linear function of
the colours.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

FLAT = 0.02**2  # variance of a colour in [0, 1] below which a window counts as flat
WORKING_SIDE = 256  # px, the longer side at which the linear functions are found


def upsample_guided(coarse: Tensor, image: NDArray[np.uint8]) -> Tensor:
    """A map, float (h', w'), at the size of its image, uint8 (h, w, 3): float32 (h, w).

    The windows reach half a cell to every side: as far as the map does not know its edge.
    """
    h, w, _ = image.shape
    scale = min(1.0, WORKING_SIDE / max(h, w))
    size = max(1, round(h * scale)), max(1, round(w * scale))
    colours = torch.from_numpy(np.ascontiguousarray(image)).to(coarse.device).permute(2, 0, 1)[None]
    small = F.interpolate(colours.float() / 255, size=size, mode="area")
    smooth = F.interpolate(coarse[None, None], size=size, mode="bilinear")
    radius = max(1, round(max(size) / max(coarse.shape) / 2))
    slope, offset = _linear_functions(small, smooth, radius)
    together = F.interpolate(torch.cat([slope, offset], 1), size=(h, w), mode="bilinear")[0]
    return (together[:3] * colours[0] / 255).sum(dim=0) + together[3]


def _linear_functions(image: Tensor, values: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Slope (1, 3, h, w) and offset (1, 1, h, w) over the colours, averaged over all windows."""
    _, c, h, w = image.shape
    products = (image[0, :, None] * image[0, None]).reshape(1, c * c, h, w)
    means = _box(torch.cat([image, values, products, image * values], 1), radius)[0]
    mean, value, product, joint = means.split([c, 1, c * c, c])
    # The variance of the colours, symmetric, a pixel at a time; solved by Cramer's rule.
    r, g, b = product.reshape(c, c, h, w) - mean[:, None] * mean[None]
    for channel, row in enumerate((r, g, b)):
        row[channel] += FLAT
    covariance = joint - mean * value
    minors = [torch.linalg.cross(*rows, dim=0) for rows in ((g, b), (b, r), (r, g))]
    slope = sum(of * minor for of, minor in zip(covariance, minors, strict=True))
    slope = slope / (r * minors[0]).sum(dim=0)
    offset = value - (slope * mean).sum(dim=0, keepdim=True)
    both = _box(torch.cat([slope, offset])[None], radius)
    return both[:, :c], both[:, c:]


def _box(maps: Tensor, radius: int) -> Tensor:
    """The mean over windows of 2 x radius + 1 px, of what of them lies within the image."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(maps, (1, side), 1, (0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), 1, (radius, 0), count_include_pad=False)

"""The heatmaps of `support`, spread over what belongs together, with the image's edges.

Twice along the image positions' attention to each other, which joins the parts of an object; then
the guided filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.support import SupportPair
from aligndiff.masks.guided import guided_filter

if TYPE_CHECKING:
    import torch

    from aligndiff.diffusion.prompts import EncodedPrompt
    from aligndiff.synthesis.heatmaps.support import HeatmapDefinition

TIMES = 2  # that a map is spread
RADIUS, EPSILON = 0.094, 1e-3  # of the guided filter: 12 px of 128


def learn(
    pipe: Any, prompt: EncodedPrompt, support: Sequence[SupportPair], size: tuple[int, int]
) -> HeatmapDefinition:
    """As `support.learn`, the threshold being that of the refined maps."""
    from aligndiff.synthesis.heatmaps import support as plain

    return plain.learn(pipe, prompt, support, size, spreads=True)


def spread(maps: torch.Tensor, image: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Maps, float32 (n, h, w), on `grid` and spread along `image`, float32 (n, p, p)."""
    from torch.nn import functional

    coarse = functional.interpolate(maps[:, None], size=grid, mode="area").flatten(1)[..., None]
    for _ in range(TIMES):
        coarse = image @ coarse
    return coarse[..., 0].unflatten(-1, grid)


def sharpened(image: NDArray[np.uint8], heatmap: NDArray[np.float32]) -> NDArray[np.float32]:
    """A heatmap, float32 (h, w) in [0, 1], with the edges of its image, uint8 (h, w, 3)."""
    return guided_filter(image, heatmap, RADIUS, EPSILON).clip(0, 1)

"""Self-support, the heart of SSP's head: a query's surest cells become prototypes of its own.

Everything here is of one query. Its *cells* are float (n, c), one row per cell of the feature map;
*directions* are the cells divided by their norms; *logits* are (n, 2), background and foreground.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

COSINE_SCALE = 10.0  # turns cosines in [-1, 1] into logits
LOCAL_SCALE = 2.0  # temperature of the local background prototype's attention
FOREGROUND_CONFIDENCE = 0.7  # a cell surer than this joins the foreground self-support
BACKGROUND_CONFIDENCE = 0.6  # the same for the background
FALLBACK_CELLS = 12  # so many of the surest cells stand in when none is sure enough
CELLS_AT_ONCE = 1024  # cells whose attention is held at once: 16 MB over 4096 sure ones
SMALLEST_NORM = 1e-8  # keeps the cosine with an empty prototype at zero


@dataclass(frozen=True)
class BackgroundSums:
    """What every cell sums over the sure background cells x, each counting exp(2 * cosine)."""

    sure: Tensor  # (n,), 1 for a sure background cell, else 0
    cells: Tensor  # (n, c): sum of exp(2 * cosine with x) * x
    weights: Tensor  # (n,): sum of exp(2 * cosine with x)


def similarity(directions: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """Logits (n, 2) = 10 * [cos(cell, background), cos(cell, foreground)].

    A prototype is (c,) for all cells or (n, c), one each.
    """
    cosines = [_cosine(directions, prototype) for prototype in (background, foreground)]
    return COSINE_SCALE * torch.stack(cosines, dim=1)


def self_support(
    cells: Tensor,
    directions: Tensor,
    logits: Tensor,
    earlier: BackgroundSums | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, BackgroundSums]:
    """The prototypes that a query lends itself, from its surest cells under `logits`.

    Returns the global foreground prototype, (c,), the background prototype of every cell, (n, c),
    and the sums behind it, from which the next round goes on as `earlier`. A background prototype
    is 0.3 of the global one and 0.7 of the cell's local one: the mean of the sure background cells,
    weighted by softmax(2 * cosine) with this cell. `dtype` is the number format of its products,
    nearly all of the work; None: that of the cells. What float16 multiplies is summed in float32.
    """
    probability = logits.softmax(dim=1)
    foreground = _sure(probability[:, 1], FOREGROUND_CONFIDENCE)
    sure = _sure(probability[:, 0], BACKGROUND_CONFIDENCE)
    sums = _background_sums(cells, directions, sure, earlier, dtype)
    local = sums.cells / sums.weights[:, None]
    background = 0.3 * _mean(cells, sure) + 0.7 * local
    return _mean(cells, foreground), background, sums


def _cosine(directions: Tensor, prototype: Tensor) -> Tensor:
    """(n,) cosines of all cells with one prototype, or of each cell with its own."""
    if prototype.ndim == 1:
        return directions @ F.normalize(prototype, dim=0, eps=SMALLEST_NORM)
    norms = torch.linalg.vector_norm(prototype, dim=1).clamp_min(SMALLEST_NORM)
    return (directions * prototype).sum(dim=1) / norms


def _sure(probability: Tensor, confidence: float) -> Tensor:
    """(n,): 1 for cells surer than `confidence`, or else for the 12 surest; 0 for the others."""
    sure = (probability > confidence).to(probability)
    if not sure.any():
        sure[probability.topk(min(FALLBACK_CELLS, len(probability))).indices] = 1
    return sure


def _mean(cells: Tensor, chosen: Tensor) -> Tensor:
    """Mean, (c,), of the `chosen` rows of `cells`."""
    return chosen @ cells / chosen.sum()


def _background_sums(
    cells: Tensor,
    directions: Tensor,
    sure: Tensor,
    earlier: BackgroundSums | None,
    dtype: torch.dtype | None,
) -> BackgroundSums:
    """The sums over the `sure` cells; of `earlier` ones only what joined and left is summed.

    The weights lie in [exp(-2), exp(2)], so nothing is lost by adding and taking away.
    """
    change = sure if earlier is None else sure - earlier.sure  # 1 joined, -1 left
    changed = change.nonzero().flatten()
    if earlier is not None and len(changed) >= sure.count_nonzero():
        return _background_sums(cells, directions, sure, None, dtype)
    signs, directions = change[changed], directions.to(dtype or cells.dtype)
    # Sums over thousands of cells are beyond float16; bfloat16 reaches as far as float32.
    summed_in = torch.float32 if directions.dtype == torch.float16 else directions.dtype
    values, signs = (cells[changed] * signs[:, None]).to(summed_in), signs.to(summed_in)
    keys = directions[changed]
    sums, weights = [], []
    for queries in directions.split(CELLS_AT_ONCE):
        attention = (queries @ keys.T).mul_(LOCAL_SCALE).exp_().to(summed_in)
        sums.append(attention @ values)
        weights.append(attention @ signs)
    total = BackgroundSums(sure, torch.cat(sums).to(cells), torch.cat(weights).to(cells))
    if earlier is None:
        return total
    return BackgroundSums(sure, earlier.cells + total.cells, earlier.weights + total.weights)

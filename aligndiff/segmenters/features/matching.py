"""Nearest neighbours between a query's cells and those of the support, forward and backward.

Everything here is of one query. *Cells* are float (n, c), one row per cell of a map of features;
*directions* are centred cells of length 1; a *share* in [0, 1] says how much of a cell the object
fills. What is close to everything is no evidence: a support cell's similarity to its own nearest
cells of the query (backward) is taken off every similarity to it (forward), as in "Word translation
without parallel data" (ICLR 2018), where such hubs are punished the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 5  # similarities that are averaged, forward and backward
BACKWARD = 0.5  # part of the backward similarity that is taken off the forward one
OBJECT_SHARE, BACKGROUND_SHARE = 0.7, 0.3  # cells between the two are edges and say nothing
REACH, STEPS, AS_GOOD = 0.3, 61, 0.01  # thresholds that are tried; IoU that makes no difference
COUNTED_SHARE = 0.5  # a cell of which less is known (more is "ignore") says nothing


@dataclass(frozen=True)
class CellSet:
    """Cells of the support: directions (n, c), and of each, (n,), what is known of it.

    Attributes:
        shares: how much of it the object fills, in [0, 1].
        weights: of the pair that it is of; only their ratios matter.
        owners: the number of that pair.
        areas: how many cells of the pair it stands for.
    """

    directions: Tensor
    shares: Tensor
    weights: Tensor
    owners: Tensor
    areas: Tensor

    def where(self, chosen: Tensor) -> CellSet:
        """Those that `chosen`, bool (n,), takes."""
        return CellSet(*(values[chosen] for values in vars(self).values()))

    @property
    def objects(self) -> CellSet:
        """The cells that the object fills. One smaller than a cell is where there is most of it."""
        most = torch.zeros(int(self.owners.max()) + 1 if len(self.owners) else 0).to(self.shares)
        most = most.scatter_reduce(0, self.owners, self.shares, "amax")[self.owners]
        return self.where((self.shares >= most.clamp_max(OBJECT_SHARE)) & (self.shares > 0))

    @property
    def background(self) -> CellSet:
        """The cells beside the object."""
        return self.where(self.shares <= BACKGROUND_SHARE)


def directions(cells: Tensor, mean: Tensor, widths: Sequence[int]) -> Tensor:
    """Cells (n, c) about their mean (c,), each layer of `widths` channels of the same length.

    A cosine of two rows is then the mean of the layers' cosines.
    """
    layers = (cells - mean).split(list(widths), dim=1)
    return torch.cat([F.normalize(layer, dim=1) for layer in layers], dim=1) / len(widths) ** 0.5


def object_score(query: Tensor, known: CellSet) -> Tensor:
    """(n,): how much nearer each cell of the query is to the object than to the background.

    `query` holds directions. In about [-1, 1]; above 0 is object. Nothing is near an empty set.
    """
    return nearness(query, known.objects) - nearness(query, known.background)


def nearness(query: Tensor, known: CellSet) -> Tensor:
    """(n,): mean similarity of each query cell to its nearest cells of `known`, less their hubness.

    A cell of weight w counts as w cells, the lightest as one: a pair that is given twice and a pair
    of weight 2 are the same.
    """
    if not len(known.directions):
        return query.new_zeros(len(query))
    backward = known.directions @ query.T  # (known, query): each row's largest lie side by side
    hubness = backward.topk(min(NEIGHBOURS, len(query)), dim=1).values.mean(dim=1)
    similarity = (backward - BACKWARD * hubness[:, None]).T
    nearest, at = similarity.topk(min(NEIGHBOURS, similarity.shape[1]), dim=1)
    weights = (known.weights / known.weights.min())[at]
    before = weights.cumsum(dim=1) - weights
    counted = torch.minimum(weights, (NEIGHBOURS - before).clamp_min(0))
    return (nearest * counted).sum(dim=1) / counted.sum(dim=1)


def fit_threshold(known: CellSet, pairs: Sequence[int]) -> float:
    """The score above which the support's own `pairs` are segmented best, each by the others.

    The best is that of the mean IoU; of thresholds as good, the one nearest to 0. Where no pair can
    be segmented by others it is 0.
    """
    tried = torch.linspace(-REACH, REACH, STEPS, device=known.shares.device)
    ious = []
    for pair in pairs:
        own, others = known.where(known.owners == pair), known.where(known.owners != pair)
        if not (len(own.objects.shares) and len(others.objects.shares)):
            continue
        claimed = (object_score(own.directions, others)[:, None] > tried).float()
        shares, areas = own.shares[:, None], own.areas
        union = areas @ torch.maximum(claimed, shares)
        ious.append((areas @ torch.minimum(claimed, shares)) / union)
    if not ious:
        return 0.0
    mean = torch.stack(ious).mean(dim=0)
    good = tried[mean >= mean.max() - AS_GOOD]
    return float(good[good.abs().argmin()])


def label_shares(mask: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How much of each cell is object, and how much is known at all, both (n,) in [0, 1].

    `mask` is uint8 (h, w) of 0, 1 and 255 (ignore); object is a share of what is known.
    """
    labels = torch.stack([mask == 1, mask != 255]).float()
    share, known = F.adaptive_avg_pool2d(labels.cpu(), grid).flatten(1)
    return share / known.clamp_min(1e-6), known


def positional_basis(flat: Tensor, most: int = 500) -> Tensor:
    """Directions (c, k) in which the cells (n, c) of an image without content differ.

    What a network sees in a plain grey image is where it looks. Projected out, what is left is what
    is there: INSID3 (CVPR 2026), which takes 500 of DINOv3's 1024 directions; at most half here.
    """
    _, _, rows = torch.linalg.svd(flat.float(), full_matrices=False)
    return rows[: min(most, flat.shape[1] // 2)].T


def without(basis: Tensor, cells: Tensor) -> Tensor:
    """Cells (n, c) less their part along `basis`, (c, k), whose columns are orthonormal."""
    return cells - (cells @ basis) @ basis.T

"""The matcher of frozen features behind the `Segmenter` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aligndiff.dataset.images import resize_image
from aligndiff.segmenters.base import Encoded, SupportItem
from aligndiff.segmenters.batches import encode_in_batches
from aligndiff.segmenters.features.extractors.base import Extractor
from aligndiff.segmenters.features.matching import (
    BACKGROUND_SHARE,
    COUNTED_SHARE,
    CellSet,
    directions,
    fit_threshold,
    label_shares,
    object_score,
    positional_basis,
    without,
)
from aligndiff.segmenters.features.upsampling import upsample_guided
from aligndiff.segmenters.object_features import cells_within

SOFTNESS = 0.05  # of the score, over which the probability falls from 1/2 to 1/(1 + e)
CELLS_OF_A_PAIR = 256  # of each kind that a pair keeps, spread evenly over its own
FITTED_PAIRS = 8  # pairs, the heaviest ones, that the threshold is fitted on
CELLS_AT_MOST = 4096  # of each kind that a support matches with; more pairs bring fewer each


@dataclass(frozen=True)
class Maps:
    """What the network sees in an image: float (c, h', w') for each of its sizes; the image."""

    maps: tuple[Tensor, ...]
    widths: tuple[int, ...]  # channels of each layer; c is their sum
    image: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Memory of the maps and the image in bytes."""
        return self.image.nbytes + sum(maps.nbytes for maps in self.maps)


@dataclass(frozen=True)
class KnownCells:
    """What a pair says at one size: the mean of its cells (c,), and some of them (n, c).

    `shares` and `areas`, (n,): see `CellSet`.
    """

    mean: Tensor
    cells: Tensor
    shares: Tensor
    areas: Tensor


@dataclass(frozen=True)
class KnownObject:
    """What a support says at one size: the mean (c,) that cells are centred at, and the cells.

    A score above `threshold` is object.
    """

    mean: Tensor
    known: CellSet
    threshold: float


class FeatureMatcher:
    """Cells of a query that are nearer to the support's object than to its background."""

    def __init__(self, extractor: Extractor, batch_size: int = 8) -> None:
        self.extractor, self.batch_size = extractor, batch_size
        self.device = extractor.device
        self._widths: tuple[int, ...] = ()
        self._support: list[KnownObject] | None = None  # one for each size
        self._bases: dict[tuple[int, int], Tensor] = {}

    @torch.inference_mode()
    def encode(self, images: Sequence[NDArray[np.uint8]]) -> list[Maps]:
        """See `Segmenter`. Consecutive images of one size go through the network together."""
        encoded, self.batch_size = encode_in_batches(images, self.batch_size, self._encode_batch)
        return encoded

    @torch.inference_mode()
    def describe(self, encoded: Encoded, mask: NDArray[np.uint8]) -> list[KnownCells]:
        """See `Segmenter`. Cells at the object's edge, and those to ignore, say nothing."""
        assert isinstance(encoded, Maps)
        labels = torch.from_numpy(np.ascontiguousarray(mask))
        return [_known_cells(maps, labels) for maps in encoded.maps]

    @torch.inference_mode()
    def set_support(
        self, support: Sequence[SupportItem], weights: Sequence[float] | None = None
    ) -> None:
        """See `Segmenter`. Raises ValueError when no mask says anything."""
        weights = [1.0] * len(support) if weights is None else weights
        pairs = [pair for pair in support if isinstance(pair, list)]
        sizes = [
            _known_by_all(of_size, weights, self._widths) for of_size in zip(*pairs, strict=True)
        ]
        if not any(len(size.known.shares) for size in sizes):
            raise ValueError("set_support needs at least one mask that is not all 'ignore'")
        self._support = sizes

    @torch.inference_mode()
    def segment(self, encoded: Encoded) -> NDArray[np.float32]:
        """See `Segmenter`. Raises RuntimeError before `set_support`."""
        if self._support is None:
            raise RuntimeError("call set_support(support) before segment(encoded)")
        assert isinstance(encoded, Maps)
        finest = encoded.maps[-1].shape[1:]
        total = torch.zeros(finest, device=self.device)
        for maps, support in zip(encoded.maps, self._support, strict=True):
            query = directions(_cells(maps), support.mean, encoded.widths)
            score = object_score(query, support.known) - support.threshold
            score = score.reshape(maps.shape[1:])
            total += F.interpolate(score[None, None], size=finest, mode="bilinear")[0, 0]
        score = upsample_guided(total / len(encoded.maps), encoded.image)
        answer: NDArray[np.float32] = (score / SOFTNESS).sigmoid().cpu().numpy()
        return answer

    @torch.inference_mode()
    def object_features(self, encoded: Encoded, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `TellsFeatures`. Of the first size; each layer has the same length."""
        assert isinstance(encoded, Maps)
        cells = cells_within(encoded.maps[0], mask)
        alike = directions(cells, torch.zeros_like(cells[0]), encoded.widths)
        features: NDArray[np.float32] = alike.float().cpu().numpy()
        return features

    def _encode_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Maps]:
        """Images of one size, at every size in which the network looks at them."""
        seen = [self._look(images, side) for side in self.extractor.sides]
        self._widths = seen[0][1]
        return [
            Maps(tuple(maps[at].clone() for maps, _ in seen), self._widths, image)
            for at, image in enumerate(images)  # a copy each: none keeps its whole batch
        ]

    def _look(
        self, images: Sequence[NDArray[np.uint8]], side: int
    ) -> tuple[Tensor, tuple[int, ...]]:
        """All layers at the cells of the first one, float (b, c, h', w'), and their channels."""
        size = fit(images[0].shape[:2], side, self.extractor.multiple)
        sized = np.stack([resize_image(image, size) for image in images])
        batch = torch.from_numpy(sized).to(self.device).permute(0, 3, 1, 2).float() / 255
        first, *others = self.extractor(batch)
        grid = first.shape[2:]
        layers = [first, *(F.interpolate(layer, size=grid, mode="bilinear") for layer in others)]
        maps = torch.cat(layers, dim=1)
        if self.extractor.has_positions:
            basis = self._basis(size)
            cells = maps.permute(0, 2, 3, 1).flatten(0, 2)
            maps = without(basis, cells).reshape(-1, *grid, maps.shape[1]).permute(0, 3, 1, 2)
        return maps, tuple(layer.shape[1] for layer in layers)

    def _basis(self, size: tuple[int, int]) -> Tensor:
        """The directions that tell positions in an image of this (h, w)."""
        if size not in self._bases:
            grey = torch.full((1, 3, *size), 0.5, device=self.device)
            self._bases[size] = positional_basis(_cells(self.extractor(grey)[0][0]))
        return self._bases[size]


def fit(size: tuple[int, ...], side: int, multiple: int) -> tuple[int, int]:
    """(h, w) scaled so that the longer one is about `side`, both multiples of `multiple`."""
    h, w = (max(1, round(length * side / max(size) / multiple)) * multiple for length in size)
    return h, w


def _cells(maps: Tensor) -> Tensor:
    """A map (c, h, w) as cells (h * w, c)."""
    return maps.flatten(1).T


def _known_cells(maps: Tensor, mask: Tensor) -> KnownCells:
    """What a map (c, h', w') says under a mask, uint8 (h, w) of 0, 1 and 255."""
    share, known = (part.to(maps.device) for part in label_shares(mask, _grid(maps)))
    counted = known >= COUNTED_SHARE
    cells, share = _cells(maps)[counted], share[counted]
    mean = cells.mean(dim=0) if len(cells) else cells.new_zeros(cells.shape[1])
    at, areas = _evenly(share > BACKGROUND_SHARE, CELLS_OF_A_PAIR)
    return KnownCells(mean, cells[at], share[at], areas)


def _known_by_all(
    pairs: Sequence[KnownCells], weights: Sequence[float], widths: Sequence[int]
) -> KnownObject:
    """What all pairs say together, and where their object ends."""
    of_pairs = pairs[0].mean.new_tensor(weights)
    speaks = of_pairs * of_pairs.new_tensor([len(pair.cells) > 0 for pair in pairs])
    mean = speaks @ torch.stack([pair.mean for pair in pairs]) / speaks.sum().clamp_min(1e-12)
    most = max(1, CELLS_AT_MOST // len(pairs))
    kept = [_evenly(pair.shares > BACKGROUND_SHARE, most) for pair in pairs]
    owners = torch.cat([at.new_full((len(at),), number) for number, (at, _) in enumerate(kept)])
    cells, shares, areas = (
        torch.cat([values[at] for values, (at, _) in zip(of_all, kept, strict=True)])
        for of_all in zip(*((pair.cells, pair.shares, pair.areas) for pair in pairs), strict=True)
    )
    areas = areas * torch.cat([thinned for _, thinned in kept])
    known = CellSet(directions(cells, mean, widths), shares, of_pairs[owners], owners, areas)
    heaviest = sorted(range(len(pairs)), key=lambda number: -weights[number])[:FITTED_PAIRS]
    return KnownObject(mean, known, fit_threshold(known, heaviest))


def _evenly(is_object: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Rows to keep, at most so many of either kind, evenly spread; and how many each stands for."""
    rows, areas = [], []
    for kind in (is_object, ~is_object):
        at = kind.nonzero().flatten()
        count = min(len(at), most)
        picked = torch.linspace(0, max(0, len(at) - 1), count, device=at.device).round().long()
        rows.append(at[picked])
        areas.append(torch.full((count,), len(at) / max(1, count), device=at.device))
    return torch.cat(rows), torch.cat(areas)


def _grid(maps: Tensor) -> tuple[int, int]:
    return maps.shape[1], maps.shape[2]

"""Few-shot segmenters: what Algorithm 1 asks of one, and SSP as one.

Set once, query many: `set_support` builds the prototypes, `predict` uses them on any images.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aligndiff.data.images import resize_image
from aligndiff.data.support import SupportPair
from aligndiff.models.ssp import (
    SSP,
    foreground_probability,
    image_tensor,
    masked_average_pooling,
    ssp_logits,
)
from aligndiff.models.ssp_checkpoint import load_ssp

FOREGROUND, BACKGROUND = 1, 0  # values of a support mask; 255 is "ignore" and counts nowhere

T = TypeVar("T")


class Segmenter(Protocol):
    """Segments the object of the support pairs in other images."""

    def set_support(
        self, pairs: Iterable[SupportPair], weights: Iterable[float] | None = None
    ) -> None:
        """Learn the object from `pairs`, read one after the other; forgets any earlier support.

        `weights` are positive, one per pair; only their ratios matter. None: all alike.
        """

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Foreground probability of each image, float32 (h, w) in [0, 1], from uint8 (h, w, 3)."""


@dataclass(frozen=True)
class Prototypes:
    """What the support says of the object and of its surroundings: float32 (c,) each."""

    foreground: Tensor
    background: Tensor


class SSPSegmenter:
    """SSP behind the `Segmenter` protocol."""

    def __init__(
        self,
        network: SSP,
        input_side: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch_size: int = 8,
    ) -> None:
        """`input_side`: longer side in pixels given to the network; None: images as they are.

        `dtype` is the precision of the network; prototypes and the head are always float32.
        """
        self.device, self.dtype = torch.device(device), dtype
        self.input_side, self.batch_size = input_side, batch_size
        self.network = network.eval().to(self.device, dtype)
        self._prototypes: Prototypes | None = None

    @torch.inference_mode()
    def set_support(
        self, pairs: Iterable[SupportPair], weights: Iterable[float] | None = None
    ) -> None:
        """See `Segmenter`. Pairs of different sizes are encoded apart; no image is kept.

        A pair whose mask has no background says nothing of the background, and likewise for the
        foreground: it is left out of that mean, instead of pulling it towards zero.
        """
        pairs_and_weights = _with_weights(pairs, weights)
        sums = torch.zeros(2, self.network.config.feature_width, device=self.device)
        totals = torch.zeros(2, 1, device=self.device)
        for batch in _runs(pairs_and_weights, lambda item: item[0].image.shape, self.batch_size):
            features = self.encode([pair.image for pair, _ in batch])
            masks = torch.stack([torch.from_numpy(pair.mask) for pair, _ in batch]).to(self.device)
            share = torch.tensor([[weight] for _, weight in batch], device=self.device)
            for row, value in enumerate((FOREGROUND, BACKGROUND)):
                region = masks == value
                present = share * region.flatten(1).any(dim=1, keepdim=True)
                sums[row] += (present * masked_average_pooling(features, region)).sum(dim=0)
                totals[row] += present.sum()
        if not totals.any():
            raise ValueError("set_support needs at least one pair whose mask is not all 'ignore'")
        means = sums / torch.where(totals > 0, totals, 1.0)
        self._prototypes = Prototypes(foreground=means[0], background=means[1])

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """See `Segmenter`. Raises RuntimeError before `set_support`."""
        answers: list[NDArray[np.float32]] = []
        for batch in _runs(images, lambda image: image.shape, self.batch_size):
            h, w, _ = batch[0].shape
            answers += self.segment(self.encode(batch), (h, w))
        return answers

    @torch.inference_mode()
    def encode(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Features, float32 (b, c, h', w'), of images of one size: independent of the support."""
        sized = np.stack([self._resized(image) for image in images])
        return self.network.backbone(image_tensor(sized).to(self.device, self.dtype)).float()

    @torch.inference_mode()
    def segment(self, features: Tensor, size: tuple[int, int]) -> list[NDArray[np.float32]]:
        """Foreground probabilities, float32 `size` = (h, w), of features that `encode` made."""
        if self._prototypes is None:
            raise RuntimeError("call set_support(pairs) before predict(images)")
        _, logits = ssp_logits(features, self._prototypes.foreground, self._prototypes.background)
        seen = _fit(size, self.input_side)
        probability = foreground_probability(logits, seen)
        if seen != size:
            probability = F.interpolate(probability[:, None], size=size, mode="bilinear")[:, 0]
        return list(probability.cpu().numpy())

    def _resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        h, w, _ = image.shape
        size = _fit((h, w), self.input_side)
        return image if size == (h, w) else resize_image(image, size)


def load_segmenter(
    path: Path, device: torch.device | str, dtype: torch.dtype, batch_size: int = 8
) -> SSPSegmenter:
    """SSP from a checkpoint file, ready for `set_support`. Raises InputError as `load_ssp` does."""
    checkpoint = load_ssp(path)
    return SSPSegmenter(checkpoint.network, checkpoint.input_side, device, dtype, batch_size)


def _fit(size: tuple[int, int], side: int | None) -> tuple[int, int]:
    """(h, w) scaled so that the longer one is `side`; unchanged for None."""
    if side is None:
        return size
    h, w = (max(1, round(length * side / max(size))) for length in size)
    return h, w


def _with_weights(
    pairs: Iterable[SupportPair], weights: Iterable[float] | None
) -> Iterator[tuple[SupportPair, float]]:
    if weights is None:
        return ((pair, 1.0) for pair in pairs)
    return zip(pairs, weights, strict=True)


def _runs(items: Iterable[T], key: Callable[[T], Hashable], limit: int) -> Iterator[list[T]]:
    """Consecutive items with equal `key`, at most `limit` at a time, in order."""
    run: list[T] = []
    for item in items:
        if run and (len(run) == limit or key(item) != key(run[0])):
            yield run
            run = []
        run.append(item)
    if run:
        yield run

"""SSP behind the `Segmenter` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aligndiff.dataset.images import BACKGROUND, OBJECT, resize_image
from aligndiff.segmenters.base import Encoded, SupportItem
from aligndiff.segmenters.batches import encode_in_batches
from aligndiff.segmenters.object_features import cells_within
from aligndiff.segmenters.ssp.network import (
    SSP,
    fold_batch_norm,
    foreground_probability,
    image_tensor,
    masked_average_pooling,
    ssp_logits,
)


@dataclass(frozen=True)
class Features:
    """What the network sees in an image: `features`, (c, h', w'); `size` is the image's (h, w)."""

    features: Tensor
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Memory of the features in bytes."""
        return self.features.nbytes


@dataclass(frozen=True)
class Prototypes:
    """What an image says of the object and of its surroundings: float32 (c,), or None: nothing."""

    foreground: Tensor | None
    background: Tensor | None


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

        `dtype` is the precision of the network and of the head's large products; the prototypes and
        the rest of the head are always float32.
        """
        self.device, self.dtype = torch.device(device), dtype
        self.input_side, self.batch_size = input_side, batch_size
        folded = fold_batch_norm(network).to(self.device, dtype)
        self.network = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._support: tuple[Tensor, Tensor] | None = None  # foreground and background, (c,) each

    @torch.inference_mode()
    def encode(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        """See `Segmenter`. Consecutive images of one size go through the network together.

        Where the memory does not suffice, fewer at once from then on; for one alone that is raised.
        """
        encoded, self.batch_size = encode_in_batches(images, self.batch_size, self._encode_batch)
        return encoded

    @torch.inference_mode()
    def describe(self, encoded: Encoded, mask: NDArray[np.uint8]) -> Prototypes:
        """See `Segmenter`. An image without background says nothing of the background."""
        assert isinstance(encoded, Features)
        features = encoded.features[None].float()

        def mean_over(label: int) -> Tensor | None:
            region = torch.from_numpy(mask == label)[None]
            if not region.any():
                return None
            return masked_average_pooling(features, region.to(self.device))[0]

        return Prototypes(mean_over(OBJECT), mean_over(BACKGROUND))

    @torch.inference_mode()
    def set_support(
        self, support: Sequence[SupportItem], weights: Sequence[float] | None = None
    ) -> None:
        """See `Segmenter`. What an image does not say pulls no mean towards zero.

        Raises ValueError when no image says anything.
        """
        weights = [1.0] * len(support) if weights is None else weights
        prototypes = [item for item in support if isinstance(item, Prototypes)]
        foreground = _weighted_mean([item.foreground for item in prototypes], weights)
        background = _weighted_mean([item.background for item in prototypes], weights)
        known = foreground if foreground is not None else background
        if known is None:
            raise ValueError("set_support needs at least one mask that is not all 'ignore'")
        missing = torch.zeros_like(known)
        self._support = (
            missing if foreground is None else foreground,
            missing if background is None else background,
        )

    @torch.inference_mode()
    def segment(self, encoded: Encoded) -> NDArray[np.float32]:
        """See `Segmenter`. Raises RuntimeError before `set_support`."""
        if self._support is None:
            raise RuntimeError("call set_support(support) before segment(encoded)")
        assert isinstance(encoded, Features)
        _, logits = ssp_logits(encoded.features[None].float(), *self._support, self.dtype)
        seen = _fit(encoded.size, self.input_side)
        probability = foreground_probability(logits, seen)
        if seen != encoded.size:
            resized = F.interpolate(probability[:, None], size=encoded.size, mode="bilinear")
            probability = resized[:, 0]
        answer: NDArray[np.float32] = probability[0].cpu().numpy()
        return answer

    @torch.inference_mode()
    def object_features(self, encoded: Encoded, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `TellsFeatures`."""
        assert isinstance(encoded, Features)
        cells: NDArray[np.float32] = cells_within(encoded.features, mask).float().cpu().numpy()
        return cells

    def _encode_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        """Images of one size, in one pass."""
        sized = image_tensor(np.stack([self._resized(image) for image in images]), self.device)
        features = self.network.backbone(sized.to(self.dtype, memory_format=torch.channels_last))
        h, w, _ = images[0].shape
        # A copy each: one image that is kept must not keep its whole batch.
        return [Features(feature.clone(), (h, w)) for feature in features]

    def _resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        h, w, _ = image.shape
        size = _fit((h, w), self.input_side)
        return image if size == (h, w) else resize_image(image, size)


def _fit(size: tuple[int, int], side: int | None) -> tuple[int, int]:
    """(h, w) scaled so that the longer one is `side`; unchanged for None."""
    if side is None:
        return size
    h, w = (max(1, round(length * side / max(size))) for length in size)
    return h, w


def _weighted_mean(rows: Sequence[Tensor | None], weights: Sequence[float]) -> Tensor | None:
    """Mean, (c,), of the rows that are there; None without any."""
    present = [(row, weight) for row, weight in zip(rows, weights, strict=True) if row is not None]
    if not present:
        return None
    stacked = torch.stack([row for row, _ in present])
    shares = stacked.new_tensor([weight for _, weight in present])
    return shares @ stacked / shares.sum()

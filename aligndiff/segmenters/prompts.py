"""Images and pairs as they are: for networks that see them only together with their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import OBJECT
from aligndiff.segmenters.base import Encoded, SupportItem


@dataclass(frozen=True)
class PromptedImage:
    """An image as it is, uint8 (h, w, 3): what the network sees depends on the prompts."""

    image: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Memory of the image in bytes."""
        return self.image.nbytes


@dataclass(frozen=True)
class PromptPair:
    """An image, uint8 (h, w, 3), and its mask, uint8 (h, w) of 0 and 1."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class KeepsImages:
    """What of a `Segmenter` is the same for all that see images only with their prompts."""

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> list[PromptedImage]:
        """See `Segmenter`."""
        return [PromptedImage(image) for image in images]

    def describe(self, encoded: Encoded, mask: NDArray[np.uint8]) -> PromptPair:
        """See `Segmenter`. A prompt has no word for "ignore": it is background there."""
        assert isinstance(encoded, PromptedImage)
        return PromptPair(encoded.image, (mask == OBJECT).astype(np.uint8))


def heaviest(
    support: Sequence[SupportItem], weights: Sequence[float] | None, most: int
) -> list[PromptPair]:
    """The pairs of most weight, `most` at most, in their order."""
    pairs = [pair for pair in support if isinstance(pair, PromptPair)]
    heavy = [1.0] * len(pairs) if weights is None else weights
    order = sorted(range(len(pairs)), key=lambda number: -heavy[number])
    return [pairs[number] for number in sorted(order[:most])]

"""Few-shot segmenters: what Algorithm 1 asks of one, and SSP as one.

An image is encoded once. What was encoded can be segmented under any support, and pooled under a
mask it becomes support itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aligndiff.core.device import free_memory

FEATURES_AT_MOST = 4 * 2**30  # bytes: 256 images of 512 px in float32 by the published networks
FEATURES_SHARE = 4  # and no more than this part of the free memory: a quarter


@dataclass(frozen=True)
class Encoded:
    """What a network sees in an image: `features`, (c, h', w'); `size` is the image's (h, w)."""

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


class Segmenter(Protocol):
    """Segments the object of the support in other images."""

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> list[Encoded]:
        """What the network sees in each image, uint8 (h, w, 3): independent of the support."""

    def pool(self, encoded: Encoded, mask: NDArray[np.uint8]) -> Prototypes:
        """Prototypes of one image under its mask, uint8 (h, w) of 0, 1 and 255 (ignore)."""

    def set_support(
        self, support: Sequence[Prototypes], weights: Sequence[float] | None = None
    ) -> None:
        """Learn the object from `support`; forgets any earlier one.

        `weights` are positive, one per image; only their ratios matter. None: all alike.
        """

    def segment(self, encoded: Encoded) -> NDArray[np.float32]:
        """Foreground probability of one image, float32 (h, w) in [0, 1]."""


def feature_memory(device: torch.device) -> int:
    """Bytes of features worth keeping on `device` between the two passes over an entry."""
    free = free_memory(device)
    return FEATURES_AT_MOST if free is None else min(FEATURES_AT_MOST, free // FEATURES_SHARE)


def prototype_weights(support: int, trusted: int, support_weight: float) -> list[float]:
    """One weight per pair, support first: a few real pairs are not drowned by many trusted ones.

    The real pairs share `support_weight`, the trusted ones, of which there is at least one, the
    rest of 1.
    """
    real = [support_weight / support] * support
    return real + [(1 - support_weight) / trusted] * trusted

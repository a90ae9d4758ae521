"""What Algorithm 1 asks of a few-shot segmenter.

An image is encoded once. What was encoded can be segmented under any support; described under a
mask it becomes support itself. What a segmenter keeps of an image and of a support pair is its own
business: nothing outside of it looks inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.device import free_memory

if TYPE_CHECKING:
    import torch

FEATURES_AT_MOST = 4 * 2**30  # bytes: 256 images of 512 px in float32 by the published networks
FEATURES_SHARE = 4  # and no more than this part of the free memory: a quarter


class Encoded(Protocol):
    """What a segmenter sees in an image, in its own form."""

    @property
    def nbytes(self) -> int:
        """The memory that it takes, in bytes."""


class SupportItem(Protocol):
    """What a segmenter keeps of an image and its mask, in its own form.

    SSP keeps prototypes; others may keep the pair itself, or features of its patches.
    """


class Segmenter(Protocol):
    """Segments the object of the support in other images."""

    device: torch.device  # where what it encodes lies

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> Sequence[Encoded]:
        """What the network sees in each image, uint8 (h, w, 3): independent of the support."""

    def describe(self, encoded: Encoded, mask: NDArray[np.uint8]) -> SupportItem:
        """An encoded image with its mask, uint8 (h, w) of 0, 1 and 255 (ignore), as support."""

    def set_support(
        self, support: Sequence[SupportItem], weights: Sequence[float] | None = None
    ) -> None:
        """Learn the object from `support`; forgets any earlier one.

        `weights` are positive, one per item; only their ratios matter. None: all alike.
        """

    def segment(self, encoded: Encoded) -> NDArray[np.float32]:
        """Foreground probability of one image, float32 (h, w) in [0, 1]."""


def feature_memory(device: torch.device) -> int:
    """Bytes of features worth keeping on `device` between the two passes over an entry."""
    free = free_memory(device)
    return FEATURES_AT_MOST if free is None else min(FEATURES_AT_MOST, free // FEATURES_SHARE)


def support_weights(support: int, trusted: int, support_weight: float) -> list[float]:
    """One weight per pair, support first: a few real pairs are not drowned by many trusted ones.

    The real pairs share `support_weight`, the trusted ones, of which there is at least one, the
    rest of 1.
    """
    real = [support_weight / support] * support
    return real + [(1 - support_weight) / trusted] * trusted

"""What the matcher asks of a network: maps of features for a batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Extractor(Protocol):
    """A frozen network that sees images as maps of features.

    Attributes:
        sides: the longer side, in pixels, of the sizes in which it looks at every image.
        multiple: height and width of what it is given are multiples of this, in pixels.
        has_positions: whether its features tell where they are, whatever is seen there, as those of
            a transformer with position embeddings do; that part is taken out.
        device: where it computes.
    """

    sides: tuple[int, ...]
    multiple: int
    has_positions: bool
    device: torch.device

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Maps, each float32 (b, c, h', w') of its own size, of RGB images, float (b, 3, h, w).

        The images are in [0, 1]. The first map's cells are those that are matched.
        """

"""What a segmenter sees of an object: the features of the cells that its mask covers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aligndiff.masks.likeness import Looks, looks_of
from aligndiff.segmenters.base import Encoded, Segmenter

COVERED = 0.7  # of a cell: less of it is as much its surroundings


@runtime_checkable
class TellsFeatures(Protocol):
    """A segmenter that also tells what it sees of an object; none has to."""

    def object_features(self, encoded: Encoded, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Features of the object below `mask`, bool (h, w), not empty: float32 (n, c), n > 0."""


def object_looks(
    segmenter: Segmenter, image: NDArray[np.uint8], encoded: Encoded, mask: NDArray[np.bool_]
) -> Looks:
    """What the object looks like below its mask, bool (h, w), not empty, in an encoded image.

    `image` is uint8 (h, w, 3). Features are a part of it where the segmenter tells them.
    """
    if not isinstance(segmenter, TellsFeatures):
        return looks_of(image, mask)
    return looks_of(image, mask, segmenter.object_features(encoded, mask))


def cells_within(maps: Tensor, mask: NDArray[np.bool_]) -> Tensor:
    """The cells of a map (c, h', w') that a mask, bool (h, w), covers: (n, c).

    Of an object that fills no cell, those that it covers most.
    """
    object_ = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
    share = F.adaptive_avg_pool2d(object_, (maps.shape[1], maps.shape[2])).flatten()
    chosen = share >= share.max().clamp_max(COVERED)
    return maps.flatten(1).T[chosen.to(maps.device)]

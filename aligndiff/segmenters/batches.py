"""Images through a network: those of one size together, and fewer where the memory is full."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.device import halve_batch, try_or_oom

Seen = TypeVar("Seen")
Images = Sequence[NDArray[np.uint8]]


def encode_in_batches(
    images: Images, batch_size: int, encode: Callable[[Images], list[Seen]]
) -> tuple[list[Seen], int]:
    """What `encode` gives for consecutive images of one size, and how many fit at once from now on.

    Where the memory does not suffice for several, half of them are tried; for one alone that is
    raised.
    """
    encoded: list[Seen] = []
    while len(encoded) < len(images):
        batch = _of_one_size(images[len(encoded) : len(encoded) + batch_size])
        if len(batch) == 1:
            encoded += encode(batch)
            continue
        seen = try_or_oom(partial(encode, batch))
        if seen is None:
            batch_size = halve_batch(len(batch), "images")
        else:
            encoded += seen
    return encoded, batch_size


def _of_one_size(images: Images) -> list[NDArray[np.uint8]]:
    """The first images, as many as have the size of the very first."""
    return list(itertools.takewhile(lambda image: image.shape == images[0].shape, images))

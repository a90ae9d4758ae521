"""A few-shot segmenter without a network or prototypes: the nearest colour of the support decides.

A module as `aligndiff.segmenters.load` wants it; its weights are a JSON file with one number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.weights import ModelChoice, first_named


@dataclass(frozen=True)
class Pixels:
    """An image as it is, uint8 (h, w, 3)."""

    image: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.image.nbytes


@dataclass(frozen=True)
class Pair:
    """An image, uint8 (h, w, 3), and its mask, uint8 (h, w)."""

    image: np.ndarray
    mask: np.ndarray

    def colours(self, label: int) -> np.ndarray:
        """Every colour under a label, once, int64 (n, 3)."""
        return np.unique(self.image[self.mask == label], axis=0).astype(np.int64)


class NearestColour:
    """Each pair votes for object and background by how near its nearest colour of each is."""

    def __init__(self, reach: float) -> None:
        """`reach`: grey levels over which a vote falls to 1 / e."""
        self.device, self.reach, self.encoded = torch.device("cpu"), reach, 0
        self.votes: list[tuple[float, np.ndarray, np.ndarray]] = []

    def encode(self, images: Sequence[np.ndarray]) -> list[Pixels]:
        self.encoded += len(images)
        return [Pixels(image) for image in images]

    def describe(self, encoded: Pixels, mask: np.ndarray) -> Pair:
        return Pair(encoded.image, mask)

    def set_support(self, support: Sequence[Pair], weights: Sequence[float] | None = None) -> None:
        shares = [1.0] * len(support) if weights is None else weights
        self.votes = [
            (share, pair.colours(1), pair.colours(0))
            for pair, share in zip(support, shares, strict=True)
        ]

    def segment(self, encoded: Pixels) -> np.ndarray:
        colours, places = np.unique(encoded.image.reshape(-1, 3), axis=0, return_inverse=True)
        sums = np.zeros((2, len(colours)))
        for share, *sides in self.votes:
            sums += share * np.stack([self._nearness(colours, side) for side in sides])
        probability = sums[0] / np.maximum(sums.sum(axis=0), 1e-30)
        return probability[places].reshape(encoded.image.shape[:2]).astype(np.float32)

    def _nearness(self, colours: np.ndarray, known: np.ndarray) -> np.ndarray:
        if not len(known):
            return np.zeros(len(colours))
        away = np.linalg.norm(colours[:, None].astype(np.int64) - known[None], axis=2).min(axis=1)
        return np.exp(-away / self.reach)


def resolve_checkpoint(flag: str | None, default: str | None) -> ModelChoice:
    name, source = first_named(flag, default)
    if name is None or not Path(name).is_file():
        raise MissingWeightsError(f"no file {name} for the nearest colour")
    return ModelChoice(name, Path(name), source)


def load(
    choice: ModelChoice, device: torch.device, dtype: torch.dtype, batch_size: int
) -> NearestColour:
    return NearestColour(json.loads(Path(choice.location).read_text())["reach"])

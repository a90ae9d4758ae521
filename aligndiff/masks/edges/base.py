"""What every way to refine edges is, and which of its settings suits the user's own pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import IGNORE, OBJECT
from aligndiff.masks.regions import intersection_over_union

Uint8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Edged:
    """A map with refined edges: `probability` float32 (h, w), about [0, 1].

    `undecided` is bool (h, w), where two opinions differ; None: nowhere.
    """

    probability: Float
    undecided: Bool | None = None


class EdgeRefiner(Protocol):
    """Refines the edges of one map; `str` says how, for the records."""

    def __call__(self, image: Uint8, probability: Float) -> Edged:
        """`image` is uint8 (h, w, 3), `probability` float32 (h, w) in [0, 1]."""


@dataclass(frozen=True)
class KeepEdges:
    """Leaves every map as it is."""

    def __call__(self, image: Uint8, probability: Float) -> Edged:
        return Edged(probability)

    def __str__(self) -> str:
        return "none"


@dataclass(frozen=True)
class KnownMap:
    """A map whose truth is known: of a support pair.

    Attributes:
        image: uint8 (h, w, 3).
        probability: float32 (h, w) in [0, 1], which is not perfect.
        truth: uint8 (h, w) of 0, 1 and 255 (ignore).
    """

    image: Uint8
    probability: Float
    truth: Uint8

    def iou(self, edges: EdgeRefiner, threshold: float) -> float:
        """Of the refined map above `threshold` with the truth; ignored pixels do not count."""
        edged = edges(self.image, self.probability)
        counted = self.truth != IGNORE
        if edged.undecided is not None:
            counted &= ~edged.undecided
        refined = edged.probability > threshold
        return intersection_over_union(refined & counted, (self.truth == OBJECT) & counted)


def fit_edges(
    settings: Sequence[EdgeRefiner], known: Sequence[KnownMap], threshold: float
) -> EdgeRefiner:
    """The setting with the best mean IoU over the known maps; none at all where none is better.

    Of equals the first wins, so `settings` begin with the one that changes least.
    """
    choices = [KeepEdges(), *settings] if known else list(settings[:1])
    scores = [sum(one.iou(choice, threshold) for one in known) for choice in choices]
    return choices[int(np.argmax(scores))]

"""From the segmenter's map to a mask: what the support pairs teach about edges and company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import OBJECT
from aligndiff.dataset.support import SupportPair
from aligndiff.masks.coarse import coarse_map
from aligndiff.masks.company import (
    Alone,
    Judge,
    ObjectLikeness,
    learn_likeness,
    without_company,
)
from aligndiff.masks.edges.base import EdgeRefiner, KeepEdges, KnownMap, fit_edges
from aligndiff.masks.options import MaskOptions

MOST_LEFT_OUT = 8  # pairs that are segmented by the others; more would tell no more


@dataclass(frozen=True)
class MaskRules:
    """How a map becomes one of sharp edges, of the object alone.

    Attributes:
        edges: the setting that suits the support pairs.
        likeness: what the object looks like; None where company is not looked for.
        threshold: above which a map means object.
        judge: asked which of several regions are the object; None: their likeness says.
    """

    edges: EdgeRefiner
    likeness: ObjectLikeness | None
    threshold: float
    judge: Judge | None = None

    def __call__(
        self, image: NDArray[np.uint8], probability: NDArray[np.float32]
    ) -> tuple[Alone, NDArray[np.bool_] | None]:
        """The map and where it is undecided; edges come first, as they part regions.

        `image` is uint8 (h, w, 3), `probability` float32 (h, w).
        """
        edged = self.edges(image, probability)
        if self.likeness is None:
            return Alone(edged.probability), edged.undecided
        alone = without_company(image, edged.probability, self.threshold, self.likeness, self.judge)
        return alone, edged.undecided

    def mask(self, image: NDArray[np.uint8], probability: NDArray[np.float32]) -> NDArray[np.bool_]:
        """The object, bool (h, w), where the map of sharp edges means it."""
        return self(image, probability)[0].probability > self.threshold


def learn_rules(
    support: Sequence[SupportPair],
    known: Sequence[KnownMap],
    options: MaskOptions,
    settings: Sequence[EdgeRefiner],
    threshold: float,
    judge: Judge | None = None,
) -> MaskRules:
    """The rules of an object from its pairs and the maps of them, see `maps_of_support`.

    `settings` of edges to choose from are tried on those maps and on masks degraded on purpose,
    above `threshold`.
    """
    likeness = None
    if options.regions != "all":
        masks = [pair.mask == OBJECT for pair in support]
        likeness = learn_likeness([pair.image for pair in support], masks)
    degraded = [
        KnownMap(pair.image, coarse_map(pair.mask == OBJECT), pair.mask)
        for pair in support[:MOST_LEFT_OUT]
    ]
    edges = fit_edges(settings, [*known, *degraded], threshold) if settings else KeepEdges()
    return MaskRules(edges, likeness, threshold, judge)

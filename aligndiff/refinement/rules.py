"""From the segmenter's map to a mask: what the support pairs teach about edges and company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import OBJECT
from aligndiff.dataset.support import SupportPair
from aligndiff.masks.coarse import coarse_map
from aligndiff.masks.company import Alone, ObjectLikeness, learn_likeness, without_company
from aligndiff.masks.edges.base import EdgeRefiner, KeepEdges, KnownMap, fit_edges
from aligndiff.masks.regions import largest_share
from aligndiff.masks.score import stability
from aligndiff.refinement.config import RefinementConfig

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Encoded, Segmenter, SupportItem

TRUSTED = 0.8  # of the support's usual score: generated images are less clear than photos
MOST_LEFT_OUT = 8  # pairs that are segmented by the others; more would tell no more


@dataclass(frozen=True)
class MaskRules:
    """How a map becomes one of sharp edges, of the object alone.

    Attributes:
        edges: the setting that suits the support pairs.
        likeness: what the object looks like; None where company is not looked for.
        threshold: above which a map means object.
    """

    edges: EdgeRefiner
    likeness: ObjectLikeness | None
    threshold: float

    def __call__(
        self, image: NDArray[np.uint8], probability: NDArray[np.float32]
    ) -> tuple[Alone, NDArray[np.bool_] | None]:
        """The map and where it is undecided; edges come first, as they part regions.

        `image` is uint8 (h, w, 3), `probability` float32 (h, w).
        """
        edged = self.edges(image, probability)
        if self.likeness is None:
            return Alone(edged.probability), edged.undecided
        alone = without_company(image, edged.probability, self.threshold, self.likeness)
        return alone, edged.undecided


def learn_rules(
    support: Sequence[SupportPair],
    known: Sequence[KnownMap],
    config: RefinementConfig,
    settings: Sequence[EdgeRefiner],
) -> MaskRules:
    """The rules of an object from its pairs and the maps of them, see `maps_of_support`.

    `settings` of edges to choose from are tried on those maps and on masks degraded on purpose.
    """
    likeness = None
    if config.regions == "object":
        masks = [pair.mask == OBJECT for pair in support]
        likeness = learn_likeness([pair.image for pair in support], masks)
    degraded = [
        KnownMap(pair.image, coarse_map(pair.mask == OBJECT), pair.mask)
        for pair in support[:MOST_LEFT_OUT]
    ]
    threshold = config.pseudo_label_threshold
    edges = fit_edges(settings, [*known, *degraded], threshold) if settings else KeepEdges()
    return MaskRules(edges, likeness, threshold)


def learn_trust(known: Sequence[KnownMap], rules: MaskRules, usual_iou: float) -> float | None:
    """The score above which a mask is trusted, from the support segmented by leave-one-out.

    A part of the usual score of a support pair, whose heatmap agrees with its mask by `usual_iou`.
    None where there are no such maps.
    """
    scores = []
    for one in known:
        probability = rules(one.image, one.probability)[0].probability
        share = largest_share(probability > rules.threshold)
        scores.append(stability(probability) * share * usual_iou)
    return TRUSTED * float(np.median(scores)) if scores else None


def maps_of_support(
    segmenter: Segmenter,
    support: Sequence[SupportPair],
    encoded: Sequence[Encoded],
    described: Sequence[SupportItem],
) -> list[KnownMap]:
    """The pairs that are `encoded`, each as the segmenter sees it that knows the others.

    None of a lone pair.
    """
    if len(support) < 2:
        return []
    known = []
    for number, (pair, seen) in enumerate(zip(support, encoded, strict=False)):
        segmenter.set_support([*described[:number], *described[number + 1 :]])
        known.append(KnownMap(pair.image, segmenter.segment(seen), pair.mask))
    return known

"""From which score on a mask is trusted: what the support pairs teach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aligndiff.masks.edges.base import KnownMap
from aligndiff.masks.regions import largest_share
from aligndiff.masks.rules import MaskRules
from aligndiff.masks.score import stability

TRUSTED = 0.8  # of the support's usual score: generated images are less clear than photos


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

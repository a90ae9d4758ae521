"""The likeness of a sample's object to the support's, and what is rejected by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import OBJECT
from aligndiff.dataset.support import SupportPair
from aligndiff.masks.likeness import Looks, SupportLooks, learn_looks
from aligndiff.refinement.verdicts import Verdict

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Encoded, Segmenter

MOST_PAIRS = 64  # whose objects samples are compared with; more would tell no more


@dataclass
class LikenessRule:
    """Gives a verdict its likeness, and rejects an object that is less like the support's.

    Attributes:
        least: the likeness that a mask needs to be kept, in [0, 1].
    """

    segmenter: Segmenter
    least: float
    _seen: list[Looks] = field(default_factory=list)
    _looks: SupportLooks | None = None

    def see(self, pairs: Sequence[SupportPair], encoded: Sequence[Encoded]) -> None:
        """Remember support pairs, with what the segmenter encoded of them."""
        for pair, image in zip(pairs, encoded, strict=True):
            mask = pair.mask == OBJECT
            if len(self._seen) < MOST_PAIRS and mask.any():
                self._seen.append(self._read(pair.image, mask, image))

    def learn(self) -> None:
        """Compare the pairs seen; to be called once, before any verdict is given a likeness."""
        if self._seen:
            self._looks = learn_looks(self._seen)

    def __call__(self, verdict: Verdict, image: NDArray[np.uint8], encoded: Encoded) -> Verdict:
        """The verdict on an image, uint8 (h, w, 3), with the likeness of what its mask covers."""
        if verdict.mask is None or not verdict.mask.any() or self._looks is None:
            return verdict
        likeness = self._looks.likeness(self._read(image, verdict.mask, encoded))
        if not math.isfinite(likeness):  # float16 does not reach as far as every feature
            return verdict
        if likeness >= self.least:
            return replace(verdict, likeness=likeness)
        reason = f"unlike the support (likeness {likeness:.2f}, below {self.least:g})"
        return Verdict(verdict.index, "rejected", None, verdict.iou, reason, likeness=likeness)

    def _read(self, image: NDArray[np.uint8], mask: NDArray[np.bool_], encoded: Encoded) -> Looks:
        from aligndiff.segmenters.object_features import object_looks

        return object_looks(self.segmenter, image, encoded, mask)

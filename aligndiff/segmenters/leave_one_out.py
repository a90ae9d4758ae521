"""The support pairs, each segmented by the others: maps of a segmenter whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aligndiff.dataset.support import SupportPair
from aligndiff.masks.edges.base import KnownMap

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Encoded, Segmenter, SupportItem


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

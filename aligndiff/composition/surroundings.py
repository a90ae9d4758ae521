"""What a class's pairs are pasted into and beside: scenes without the object, and other things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aligndiff.composition.instance import Instance, cut_out
from aligndiff.dataset.images import OBJECT, Uint8
from aligndiff.dataset.support import SupportPair


@dataclass(frozen=True)
class Surroundings:
    """Backgrounds, uint8 (h, w, 3) each, and other things."""

    backgrounds: tuple[Uint8, ...] = ()
    others: tuple[Instance, ...] = ()


def surroundings(backgrounds: Sequence[Uint8], pairs: Sequence[SupportPair]) -> Surroundings:
    """Backgrounds, and pairs of other things, whose photos are backgrounds as well."""
    grounds = {id(image): image for image in (*backgrounds, *(pair.image for pair in pairs))}
    things = [cut_out(pair.image, pair.mask) for pair in pairs if (pair.mask == OBJECT).any()]
    return Surroundings(tuple(grounds.values()), tuple(things))

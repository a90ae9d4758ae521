"""Queries composed into scenes, and scenes without the object: what the plain pairs do not show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aligndiff.annotations.backgrounds import BackgroundPhoto
from aligndiff.composition.compose import Ingredients, compose
from aligndiff.composition.instance import Extent, cut_out
from aligndiff.composition.paste import Composite
from aligndiff.composition.recipe import SceneRecipe
from aligndiff.composition.surroundings import Surroundings, surroundings
from aligndiff.core.errors import InputError
from aligndiff.dataset.images import OBJECT, Uint8
from aligndiff.dataset.support import SupportPair, reduce_pair
from aligndiff.training.pairs import ClassPairs

_PLAIN, _COMPOSED = 1 / 3, 1 / 3  # of the queries; the rest are negatives
_MOST_BACKGROUNDS = 300  # kept in memory


class QueryComposer:
    """Makes the query of an episode from its pair: by thirds as it is, composed, a negative."""

    def __init__(
        self, classes: Sequence[ClassPairs], photos: Sequence[BackgroundPhoto], side: int
    ) -> None:
        """`side` is that of the scenes, in px. InputError for a class without surroundings."""
        self.side = side
        order = np.random.default_rng(0).permutation(len(photos))[:_MOST_BACKGROUNDS]
        kept = [photos[at] for at in sorted(order.tolist())]
        read = {photo.path: photo.read(2 * side) for photo in kept}
        real = {pairs.category: _reduced(pairs, 2 * side) for pairs in classes}
        self._around: dict[str, Surroundings] = {}
        self._extents: dict[str, list[Extent]] = {}
        for name, own in real.items():
            grounds = [read[photo.path] for photo in kept if not photo.shows(name)]
            others = [pair for other, pairs in real.items() if other != name for pair in pairs]
            things = [*(pair for _, marked in grounds for pair in marked), *others]
            self._around[name] = surroundings([image for image, _ in grounds], things)
            self._extents[name] = [cut_out(pair.image, pair.mask).extent for pair in own]
        if bare := [name for name, around in self._around.items() if not around.backgrounds]:
            raise InputError(
                f"--compose: nothing to paste {', '.join(bare)} into; give --backgrounds DIR"
            )

    def query(
        self, category: str, image: Uint8, mask: Uint8, rng: np.random.Generator
    ) -> tuple[Uint8, Uint8] | None:
        """A composed scene of the pair or a negative, both of `side`; None: the pair as it is."""
        kind = rng.random()
        if kind < _PLAIN or not (mask == OBJECT).any():
            return None
        around, pair = self._around[category], Composite(image, mask)
        own = cut_out(image, mask).extent
        ingredients = Ingredients(
            pairs=[pair],
            backgrounds=around.backgrounds,
            others=around.others,
            support=self._extents[category] or [own],
            size=(self.side, self.side),
        )
        scene = compose(ingredients, rng, SceneRecipe(), kind < _PLAIN + _COMPOSED).composite
        return scene.image, scene.mask


def _reduced(pairs: ClassPairs, side: int) -> list[SupportPair]:
    """The real pairs of a class that show the object, their longer side at most `side`."""
    read = [reduce_pair(SupportPair(pair.name, *pair.read()), side) for pair in pairs.real]
    return [pair for pair in read if (pair.mask == OBJECT).any()]

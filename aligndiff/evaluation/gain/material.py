"""What one training learns from: pairs, and scenes composed of them, in stacks of one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from aligndiff.composition.compose import Ingredients, compose
from aligndiff.composition.instance import Extent, cut_out
from aligndiff.composition.paste import Composite
from aligndiff.composition.recipe import SceneRecipe
from aligndiff.composition.surroundings import Surroundings
from aligndiff.dataset.images import resize_image, resize_mask
from aligndiff.dataset.support import SupportPair
from aligndiff.evaluation.gain.recipes import GainRecipe

if TYPE_CHECKING:
    from aligndiff.segmenters.trained.batches import PairStack, Source

COMPOSED = 400  # scenes that either half of an arm is composed into; batches change them anew
REAL_SHARE = 0.5  # of every batch, beside synthetic pairs
_OVERSIZE = 2  # scenes are composed at so many times the side, so that edges are fine


@dataclass(frozen=True)
class GainMaterial:
    """The pairs of an arm and what surrounds them; stacks are made when they are asked for.

    `side` is that of the squares that are learned from, in px; `seed` draws the scenes, `composed`
    is their number. Without `scenes` the synthetic pairs are used as they are, and only real pairs
    are pasted.
    """

    real: tuple[SupportPair, ...]
    synthetic: tuple[SupportPair, ...]
    around: Surroundings
    side: int
    seed: int
    scenes: bool = True
    composed: int = COMPOSED

    def sources(self, recipe: GainRecipe) -> list[Source]:
        """The stacks that a recipe draws its batches from, each with its share."""
        from aligndiff.segmenters.trained.batches import Source

        plain = 1 - recipe.composed - recipe.negatives
        real = REAL_SHARE if self.synthetic else 1.0
        sources = [
            Source(self.plain_real, plain * real),
            Source(self.plain_synthetic, plain * (1 - real)),
        ]
        if recipe.composed:
            pasted = real if self.scenes else 1.0
            sources.append(Source(self.composed_real, recipe.composed * pasted))
            if self.synthetic and self.scenes:
                sources.append(Source(self.composed_synthetic, recipe.composed * (1 - pasted)))
        if recipe.negatives:
            sources.append(Source(self.negatives, recipe.negatives))
        return sources

    def support(self) -> list[Source]:
        """The pairs as they are, by halves: what the few-shot segmenter's support is drawn from."""
        return self.sources(GainRecipe("", ""))

    @cached_property
    def plain_real(self) -> PairStack:
        return _stack(self.real, self.side)

    @cached_property
    def plain_synthetic(self) -> PairStack:
        return _stack(self.synthetic, self.side)

    @cached_property
    def composed_real(self) -> PairStack:
        return self._composed(self.real, self.composed, 1)

    @cached_property
    def composed_synthetic(self) -> PairStack:
        return self._composed(self.synthetic, self.composed, 2)

    @cached_property
    def negatives(self) -> PairStack:
        return self._composed(self.real, self.composed // 2, 3, with_object=False)

    def _composed(
        self, pairs: Sequence[SupportPair], count: int, salt: int, with_object: bool = True
    ) -> PairStack:
        side, rng = _OVERSIZE * self.side, np.random.default_rng((self.seed, salt))
        ingredients = Ingredients(
            pairs=[_squeezed(pair, side) for pair in pairs],
            backgrounds=self.around.backgrounds,
            others=self.around.others,
            support=_extents(self.real),
            size=(side, side),
        )
        scenes = [compose(ingredients, rng, SceneRecipe(), with_object) for _ in range(count)]
        return _stack([scene.composite for scene in scenes], self.side)


def _stack(pairs: Sequence[SupportPair] | Sequence[Composite], side: int) -> PairStack:
    from aligndiff.segmenters.trained.batches import stack_pairs

    return stack_pairs(((pair.image, pair.mask) for pair in pairs), side)


def _squeezed(pair: SupportPair, side: int) -> Composite:
    size = (side, side)
    return Composite(resize_image(pair.image, size), resize_mask(pair.mask, size))


def _extents(pairs: Sequence[SupportPair]) -> list[Extent]:
    """Sizes and places of the real objects, which pasted ones follow."""
    return [cut_out(pair.image, pair.mask).extent for pair in pairs]

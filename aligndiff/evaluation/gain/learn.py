"""One training: a segmenter from the material of an arm by a recipe, tested on every test set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.support import SupportPair
from aligndiff.evaluation.final_masks import FOREGROUND_THRESHOLD
from aligndiff.evaluation.gain.material import REAL_SHARE, GainMaterial
from aligndiff.evaluation.gain.networks import NetworkChoice, build_network
from aligndiff.evaluation.gain.recipes import GainRecipe
from aligndiff.segmenters.base import Segmenter, support_weights
from aligndiff.segmenters.load import SegmenterChoice, adapt_segmenter, load_segmenter
from aligndiff.segmenters.metrics import Sums, overlaps
from aligndiff.segmenters.trained.augment import ERASING, STRONG, USUAL
from aligndiff.segmenters.trained.learn import Budget, find_object, learn, squeezed

_AUGMENTATIONS = {"usual": USUAL, "strong": STRONG, "erasing": ERASING}
_MOST_SUPPORT = 100  # synthetic pairs of a support: a prototype of more is the same
_AT_ONCE = 8  # images that a few-shot segmenter encodes together


@dataclass(frozen=True)
class TestSet:
    """Pairs to test on, and their images as a network of a `side` sees them."""

    __test__ = False  # no class of tests, whatever its name begins with

    pairs: tuple[SupportPair, ...]
    side: int

    @cached_property
    def squeezed(self) -> Uint8:
        return squeezed([pair.image for pair in self.pairs], self.side)

    def sums(self, masks: Sequence[NDArray[np.bool_]]) -> Sums:
        """Intersection and union of the object in each image, int64 (n, 2)."""
        objects = [overlaps(m, pair.mask)[1] for m, pair in zip(masks, self.pairs, strict=True)]
        rows = [(overlap.intersection, overlap.union) for overlap in objects]
        return np.asarray(rows, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Machine:
    """What every training of a run has in common: the models, the budget, the device."""

    network: NetworkChoice
    few_shot: SegmenterChoice | None
    budget: Budget
    few_shot_budget: Budget  # of the few-shot segmenter, which starts from weights
    device: torch.device
    dtype: torch.dtype


def train_and_test(
    recipe: GainRecipe,
    material: GainMaterial,
    tests: Mapping[str, TestSet],
    machine: Machine,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Sums]:
    """What the segmenter of a recipe gets right in each image of every test set."""
    answer = train(recipe, material, machine, seed, advance)
    return {name: test.sums(answer(test)) for name, test in tests.items()}


def train(
    recipe: GainRecipe,
    material: GainMaterial,
    machine: Machine,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> Callable[[TestSet], list[NDArray[np.bool_]]]:
    """The segmenter of a recipe, as what it answers: a mask (h, w) for each image of a test set."""
    if recipe.learner == "network":
        network = build_network(machine.network, seed)
        learn(
            network,
            material.sources(recipe),
            _AUGMENTATIONS[recipe.augmentation],
            machine.budget.share(recipe.steps),
            seed,
            machine.device,
            machine.dtype,
            advance,
        )

        def answer(test: TestSet) -> list[NDArray[np.bool_]]:
            sizes = [(pair.mask.shape[0], pair.mask.shape[1]) for pair in test.pairs]
            return find_object(network, test.squeezed, sizes, machine.device, machine.dtype)

        return answer
    segmenter = _few_shot(recipe, material, machine, seed, advance)
    _show_support(segmenter, material)
    return lambda test: _segmented(segmenter, [pair.image for pair in test.pairs])


def _few_shot(
    recipe: GainRecipe,
    material: GainMaterial,
    machine: Machine,
    seed: int,
    advance: Callable[[], None],
) -> Segmenter:
    assert machine.few_shot is not None, "the recipe is on no list without a few-shot segmenter"
    if not recipe.is_trained:
        precision = str(machine.dtype).removeprefix("torch.")
        return load_segmenter(machine.few_shot, machine.device.type, precision, _AT_ONCE)
    return adapt_segmenter(
        machine.few_shot,
        material.support(),
        material.sources(recipe),
        _AUGMENTATIONS[recipe.augmentation],
        machine.few_shot_budget.share(recipe.steps),
        seed,
        machine.device,
        machine.dtype,
        advance,
    )


def _show_support(segmenter: Segmenter, material: GainMaterial) -> None:
    """The arm's own pairs, real and synthetic ones by halves."""
    synthetic = material.synthetic[:_MOST_SUPPORT]
    pairs = [*material.real, *synthetic]
    encoded = [seen for images in _in_turn(pairs) for seen in segmenter.encode(images)]
    items = [segmenter.describe(seen, p.mask) for seen, p in zip(encoded, pairs, strict=True)]
    weights = support_weights(len(material.real), len(synthetic), REAL_SHARE) if synthetic else None
    segmenter.set_support(items, weights)


def _segmented(segmenter: Segmenter, images: Sequence[Uint8]) -> list[NDArray[np.bool_]]:
    answers = []
    for start in range(0, len(images), _AT_ONCE):
        encoded = segmenter.encode(images[start : start + _AT_ONCE])
        answers += [segmenter.segment(seen) > FOREGROUND_THRESHOLD for seen in encoded]
    return answers


def _in_turn(pairs: Sequence[SupportPair]) -> list[list[Uint8]]:
    images = [pair.image for pair in pairs]
    return [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]

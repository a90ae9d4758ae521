"""The trainings of a user's dataset folder, done: pairs are read, composed, learned and tested."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from aligndiff.annotations.backgrounds import BackgroundPhoto
from aligndiff.composition.surroundings import Surroundings, surroundings
from aligndiff.dataset.samples import StoredSample
from aligndiff.dataset.support import PairPaths, SupportPair, load_pair, reduce_pair
from aligndiff.evaluation.gain.classes import Split, split_class
from aligndiff.evaluation.gain.learn import Machine, TestSet, train_and_test
from aligndiff.evaluation.gain.material import COMPOSED, GainMaterial
from aligndiff.evaluation.gain.plan import GainPlan
from aligndiff.evaluation.gain.recipes import RECIPES
from aligndiff.evaluation.gain.units import REAL, TEST, VALIDATION, GainUnit, UnitRecord

SCORED_SIDE = 512  # px: larger photos are reduced to it, to be learned from and tested on
_MOST_BACKGROUNDS = 300  # kept in memory; of more a random choice
_TIMED_STEPS = 4


class UnitWork:
    """Does units; what several of them share is read and composed once."""

    def __init__(
        self,
        plan: GainPlan,
        backgrounds: Sequence[BackgroundPhoto],
        machine: Machine,
        side: int,
        seed: int,
    ) -> None:
        """`side` is that of the images that are learned from, in px."""
        self.plan, self.backgrounds, self.machine = plan, tuple(backgrounds), machine
        self.side, self.seed = side, seed
        self._material = lru_cache(maxsize=2)(self._make_material)
        self._test_set = lru_cache(maxsize=4)(self._read_test_set)
        self._around = lru_cache(maxsize=2)(self._read_surroundings)

    def do(self, unit: GainUnit, advance: Callable[[], None] = lambda: None) -> UnitRecord:
        """Train and test: on the validation pairs, on the test pairs, or both."""
        started = time.monotonic()
        split = self._split(unit)
        named = {VALIDATION: split.validation, TEST: split.tests}
        tests = {name: self._test_set(pairs) for name, pairs in named.items() if pairs}
        material = self.material(unit)
        seed = hash_seed(self.seed, unit.draw, unit.fold, unit.seed)
        recipe = RECIPES[unit.recipe]
        sums = train_and_test(recipe, material, tests, self.machine, seed, advance)
        return UnitRecord(sums, time.monotonic() - started)

    def seconds_a_step(self, unit: GainUnit) -> float:
        """Measured on the first steps of a training."""
        material = self.material(unit)
        material.sources(RECIPES[unit.recipe])  # composing is no step
        times = [time.monotonic()]
        few = replace(self.machine.budget, steps=1 + _TIMED_STEPS)
        machine = replace(self.machine, budget=few, few_shot_budget=few)
        ticks: Callable[[], None] = lambda: times.append(time.monotonic())  # noqa: E731
        train_and_test(replace(RECIPES[unit.recipe], steps=1.0), material, {}, machine, 0, ticks)
        return (times[-1] - times[1]) / _TIMED_STEPS  # the first step prepares the others

    def material(self, unit: GainUnit) -> GainMaterial:
        """What the unit learns from."""
        return self._material(replace(unit, recipe="", seed=0))

    def _make_material(self, unit: GainUnit) -> GainMaterial:
        split = self._split(unit)
        synthetic = () if unit.arm == REAL else split.samples[: unit.samples]
        budget = self.machine.budget
        return GainMaterial(
            tuple(map(_read_pair, split.real)),
            tuple(_read_sample(sample, 2 * self.side) for sample in synthetic),
            self._around(unit.category),
            self.side,
            hash_seed(self.seed, unit.draw, unit.fold),
            composed=min(COMPOSED, budget.steps * budget.batch_size),
        )

    def _split(self, unit: GainUnit) -> Split:
        own = self.plan.of_class(unit.category)
        return split_class(own, unit.draw, unit.fold, self.plan.folds, unit.held_out)

    def _read_test_set(self, pairs: tuple[PairPaths, ...]) -> TestSet:
        return TestSet(tuple(map(_read_pair, pairs)), self.side)

    def _read_surroundings(self, category: str) -> Surroundings:
        """The backgrounds with what is marked in them, and the real pairs of the other classes."""
        usable = [photo for photo in self.backgrounds if not photo.shows(category)]
        order = np.random.default_rng(self.seed).permutation(len(usable))
        read = [usable[at].read(SCORED_SIDE) for at in sorted(order[:_MOST_BACKGROUNDS].tolist())]
        others = [p for own in self.plan.classes if own.category != category for p in own.real]
        things = [pair for _, marked in read for pair in marked]
        return surroundings([image for image, _ in read], [*things, *map(_read_pair, others)])


def hash_seed(*numbers: int) -> int:
    """A seed of its own for each tuple of numbers, below 2**63."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def units_in_order(units: Iterable[GainUnit]) -> list[GainUnit]:
    """Those of one material after each other, so that it is composed once."""
    return sorted(
        units,
        key=lambda u: (u.draw, u.fold, u.category, u.arm, u.samples, u.held_out, u.recipe, u.seed),
    )


def first_of_each_learner(units: Sequence[GainUnit]) -> dict[str, GainUnit]:
    """A unit for each kind of segmenter that is trained in them, to measure its steps by."""
    kinds: dict[str, GainUnit] = {}
    for unit in units:
        if RECIPES[unit.recipe].is_trained:
            kinds.setdefault(RECIPES[unit.recipe].learner, unit)
    return kinds


def _read_pair(paths: PairPaths) -> SupportPair:
    return reduce_pair(load_pair(paths), SCORED_SIDE)


def _read_sample(sample: StoredSample, side: int) -> SupportPair:
    mask = sample.read_mask().astype(np.uint8)
    return reduce_pair(SupportPair(sample.name, sample.read_image(), mask), side)

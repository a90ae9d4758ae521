"""Figures of a gain: what each arm reaches by its best recipe, with intervals, and over samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aligndiff.evaluation.gain.classes import GainClass, split_class
from aligndiff.evaluation.gain.plan import GainPlan
from aligndiff.evaluation.gain.units import REAL, SYNTHETIC, TEST, Choice, GainUnit, UnitRecords
from aligndiff.evaluation.intervals import interval

Int = NDArray[np.int64]
Float = NDArray[np.float64]
MEAN = "mean"  # of the classes: the mIoU


@dataclass(frozen=True)
class Comparison:
    """A line of the table: IoUs in [0, 1]; `low` and `high` bound the gain with 95 %."""

    contest: str
    category: str
    tests: int
    real_recipe: str
    synthetic_recipe: str
    without: float
    with_samples: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        return self.with_samples - self.without


@dataclass(frozen=True)
class GainPoint:
    """What so many samples of each class give: the mIoU of each draw, in [0, 1]."""

    samples: int
    mious: tuple[float, ...]

    @property
    def miou(self) -> float:
        return float(np.mean(self.mious))


def arm_sums(
    plan: GainPlan, records: UnitRecords, units: Sequence[GainUnit], pairs: GainClass
) -> Int:
    """The sums of the units of a class, int64 (draws, seeds, images, 2), images in their order."""
    own = [unit for unit in units if unit.category == pairs.category]
    draws, seeds = (sorted({getattr(u, name) for u in own}) for name in ("draw", "seed"))
    images = pairs.tests or pairs.real
    sums = np.zeros((len(draws), len(seeds), len(images), 2), dtype=np.int64)
    for unit in own:
        record = records.get(unit)
        assert record is not None, "figures are made of units that were done"
        tested = split_class(pairs, unit.draw, unit.fold, plan.folds, False).tests
        rows = [images.index(pair) for pair in tested]
        sums[draws.index(unit.draw), seeds.index(unit.seed), rows] = record.sums[TEST]
    return sums


def resampled_ious(sums: Int, images: Int, draws: Int) -> Float:
    """The IoU in each of r redrawn sets of test images and draws, float (r,).

    `sums` is (draws, seeds, images, 2); `images` (r, images) and `draws` (r, draws) say how often
    each one is drawn.
    """
    totals = np.tensordot(images, sums, axes=(1, 2))  # (r, draws, seeds, 2)
    ious = totals[..., 0] / np.maximum(totals[..., 1], 1)
    weights = draws / draws.sum(axis=1, keepdims=True)
    return np.asarray((ious.mean(axis=2) * weights).sum(axis=1), dtype=np.float64)


def compare(
    plan: GainPlan, records: UnitRecords, choices: Mapping[tuple[str, str], Choice], seed: int
) -> list[Comparison]:
    """A line for each contest: of every class in the first of them, and of the mean in all.

    The intervals come from redrawing test images and draws together, the same for both arms.
    """
    lines = []
    for number, contest in enumerate(plan.contests):
        chosen = [choices[contest.name, arm].recipe for arm in (REAL, SYNTHETIC)]
        arms = [plan.finals(a, r) for a, r in zip((REAL, SYNTHETIC), chosen, strict=True)]
        words = [recipe.name for recipe in chosen]
        rows = [_class_gain(plan, records, arms, pairs, seed) for pairs in plan.classes]
        tests = [len(pairs.tests or pairs.real) for pairs in plan.classes]
        if number == 0 and len(rows) > 1:
            for pairs, row, count in zip(plan.classes, rows, tests, strict=True):
                lines.append(_line(contest.name, pairs.category, count, words, row))
        category = MEAN if len(rows) > 1 else plan.classes[0].category
        lines.append(_line(contest.name, category, sum(tests), words, np.mean(rows, axis=0)))
    return lines


def _class_gain(
    plan: GainPlan,
    records: UnitRecords,
    arms: Sequence[Sequence[GainUnit]],
    pairs: GainClass,
    seed: int,
) -> Float:
    """The IoUs of both arms as they are, and after them in each redrawn test: float (2, 1 + r)."""
    sums = [arm_sums(plan, records, units, pairs) for units in arms]
    draws, _, images, _ = sums[0].shape
    rng, count = np.random.default_rng((seed, len(pairs.category), images)), plan.config.resamples
    # The draws are the same for all classes: a draw is one experiment.
    drawn = np.random.default_rng((seed, draws)).multinomial(draws, [1 / draws] * draws, size=count)
    tested = rng.multinomial(images, np.full(images, 1 / images), size=count)
    once = np.ones((1, images), np.int64), np.ones((1, draws), np.int64)
    return np.stack(
        [
            np.concatenate([resampled_ious(own, *once), resampled_ious(own, tested, drawn)])
            for own in sums
        ]
    )


def _line(contest: str, category: str, tests: int, words: Sequence[str], ious: Float) -> Comparison:
    without, with_samples = ious
    low, high = interval(with_samples[1:] - without[1:])
    ends = float(without[0]), float(with_samples[0])
    return Comparison(contest, category, tests, words[0], words[1], *ends, low, high)


def gain_curve(
    plan: GainPlan, records: UnitRecords, choices: Mapping[tuple[str, str], Choice]
) -> list[GainPoint]:
    """The mIoU over the number of samples: at 0 the best recipe of the real pairs alone."""
    contest = plan.contests[0].name
    best = choices[contest, SYNTHETIC].recipe
    most = max(len(pairs.samples) for pairs in plan.classes)
    arms = {0: plan.finals(REAL, choices[contest, REAL].recipe)}
    arms |= {count: plan.finals(SYNTHETIC, best, count) for count in plan.counts()}
    arms[most] = plan.finals(SYNTHETIC, best)
    points = []
    for samples, units in arms.items():
        classes = [arm_sums(plan, records, units, pairs) for pairs in plan.classes]
        ious = [_draw_ious(sums) for sums in classes]
        points.append(GainPoint(samples, tuple(np.mean(ious, axis=0).tolist())))
    return points


def _draw_ious(sums: Int) -> Float:
    """The IoU of each draw, float (draws,), the mean over its seeds."""
    totals = sums.sum(axis=2)
    ious = totals[..., 0] / np.maximum(totals[..., 1], 1)
    return np.asarray(ious.mean(axis=1), dtype=np.float64)

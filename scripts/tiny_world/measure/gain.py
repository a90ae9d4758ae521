"""What synthetic pairs add: a small segmenter trained from real pairs with and without them.

Every segmenter has the same network, optimizer steps, batches and augmentation (`GainRecipe`); only
the pairs differ. All are tested on the same fresh rendered scenes, in
which the object lies beside another thing, against exact masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from aligndiff.core.console import progress
from scripts.tiny_world.measure.pairs import (
    Pairs,
    crowded_scenes,
    join,
    load_real_pairs,
    load_synthetic_pairs,
)
from scripts.tiny_world.measure.segmenter import GainRecipe, class_iou, train_small_segmenter
from scripts.tiny_world.world.example import EXAMPLES

# (real, synthetic) pairs of each object.
AMOUNTS = ((1, 0), (5, 0), (5, 20), (5, 50), (5, 100), (5, 200))


@dataclass(frozen=True)
class GainPoint:
    """One amount of data: how well the segmenters trained on it do.

    Attributes:
        real: real pairs of each object.
        synthetic: synthetic pairs that were asked for.
        used: synthetic pairs of each object that there were; fewer when step 3 rejected some.
        ious: class IoU in [0, 1] of each object (in the order of EXAMPLES), of each seed.
    """

    real: int
    synthetic: int
    used: tuple[int, ...]
    ious: tuple[tuple[float, ...], ...]

    @property
    def seed_mious(self) -> tuple[float, ...]:
        """mIoU, the mean over the objects, of each seed."""
        return tuple(float(np.mean(one_seed)) for one_seed in zip(*self.ious, strict=True))

    @property
    def miou(self) -> float:
        """Mean over the objects and seeds."""
        return float(np.mean(self.ious))


@dataclass(frozen=True)
class Training:
    """One segmenter to train and to test."""

    dataset_dir: Path
    category: str
    real: int
    synthetic: int
    seed: int
    scenes: int
    recipe: GainRecipe


@dataclass(frozen=True)
class Tested:
    """What came of a training: how many synthetic pairs it had, its class IoU in [0, 1]."""

    used: int
    iou: float


def measure_gain(
    dataset_dir: Path,
    amounts: Sequence[tuple[int, int]] = AMOUNTS,
    seeds: int = 3,
    scenes: int = 200,
    workers: int = 2,
    recipe: GainRecipe | None = None,
) -> list[GainPoint]:
    """Train and test a segmenter of each object from each of the ``amounts``, with each seed.

    ``dataset_dir`` holds the example objects, each in a folder of its name, and the samples that
    the three steps made of them. A worker is a process of one thread.
    """
    trainings = [
        Training(dataset_dir, category, real, synthetic, seed, scenes, recipe or GainRecipe())
        for real, synthetic in amounts
        for category in EXAMPLES
        for seed in range(seeds)
    ]
    tested = iter(_run_all(trainings, workers))
    points = []
    for real, synthetic in amounts:
        results = [[next(tested) for _ in range(seeds)] for _ in EXAMPLES]
        used = tuple(one_object[0].used for one_object in results)
        ious = tuple(tuple(result.iou for result in one_object) for one_object in results)
        points.append(GainPoint(real, synthetic, used, ious))
    return points


def run_training(training: Training) -> Tested:
    category, seed = training.category, training.seed
    pairs = load_real_pairs(training.dataset_dir / category, training.real, seed)
    if training.synthetic:
        made = load_synthetic_pairs(training.dataset_dir, category, training.synthetic, seed)
        pairs = join(pairs, made)
    segmenter = train_small_segmenter(pairs, training.real, seed, training.recipe)
    iou = class_iou(segmenter, _test_scenes(category, training.scenes))
    return Tested(len(pairs) - training.real, iou)


def _run_all(trainings: Sequence[Training], workers: int) -> list[Tested]:
    """The results in the order of the trainings."""
    results = []
    with progress("training segmenters", len(trainings)) as advance:
        for result in _results(trainings, workers):
            results.append(result)
            advance()
    return results


def _results(trainings: Sequence[Training], workers: int) -> Iterator[Tested]:
    if workers < 2:
        yield from map(run_training, trainings)
        return
    # Small layers gain little from a second thread, much from a second process.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(run_training, trainings)


@lru_cache(maxsize=len(EXAMPLES))
def _test_scenes(category: str, count: int) -> Pairs:
    """The same for every training, so drawn once by each process."""
    return crowded_scenes(category, count)

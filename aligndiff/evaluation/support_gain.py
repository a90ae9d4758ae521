"""Did it help? The same test with support from real pairs alone, and with synthetic ones added.

What is compared is support: the prototypes that a segmenter makes of its pairs. No network is
trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.console import Advance
from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.images import check_image
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.samples import StoredSample, excluded_samples, stored_samples
from aligndiff.dataset.support import (
    PairPaths,
    SupportPair,
    check_support,
    find_pairs,
    load_pair,
    reduce_pair,
)
from aligndiff.evaluation.config import SupportGainConfig
from aligndiff.evaluation.final_masks import OWN_MASKS, FinalMasks
from aligndiff.segmenters.base import support_weights
from aligndiff.segmenters.metrics import Sums, overlaps

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Encoded, Segmenter, SupportItem

Members = tuple[int, ...]  # which synthetic samples of a class belong to the support, ascending

SHOWN = 4  # test images of a class that the sheet shows: the first ones


@dataclass(frozen=True)
class Shown:
    """A test image for the sheet, with the masks, bool (h, w), without and with all samples."""

    pair: SupportPair
    without: NDArray[np.bool_]
    with_all: NDArray[np.bool_]


@dataclass(frozen=True)
class ClassGain:
    """One class, tested under many supports.

    Attributes:
        draws: for each number of samples, the sets that were drawn at random; the first number is
            0, the last one stands for all samples. Where a class has fewer samples, it has them
            all.
        sums: for each such set, int64 (images, 4): intersection and union of the background, then
            of the object, in every test image.
    """

    task: GainTask
    draws: dict[int, list[Members]]
    sums: dict[Members, Sums]
    shown: tuple[Shown, ...]

    @property
    def none(self) -> Sums:
        return self.sums[()]

    @property
    def all(self) -> Sums:
        return self.sums[tuple(range(len(self.task.samples)))]


def plan_draws(
    total: int, most: int, counts: Sequence[int], draws: int, seed: Sequence[int]
) -> dict[int, list[Members]]:
    """Which of `total` samples are the support, for 0, each of `counts` below `most`, and `most`.

    In one draw the smaller sets are parts of the larger ones. None and all of the samples are one
    set each, repeated.
    """
    orders = [np.random.default_rng([*seed, draw]).permutation(total) for draw in range(draws)]
    numbers = sorted({0, most, *(count for count in counts if count < most)})
    return {
        number: [tuple(sorted(int(at) for at in order[:number])) for order in orders]
        for number in numbers
    }


def measure_gain(
    segmenter: Segmenter,
    tasks: Sequence[GainTask],
    config: SupportGainConfig,
    seed: int,
    batch_size: int,
    advance: Advance,
    masks: FinalMasks = OWN_MASKS,
) -> list[ClassGain]:
    """Test every class, see `measure_class`; which samples are drawn follows from the seed."""
    most = max(len(task.samples) for task in tasks)
    classes = []
    for number, task in enumerate(tasks):
        draws = plan_draws(len(task.samples), most, config.counts, config.draws, (seed, number))
        classes.append(
            measure_class(segmenter, task, draws, config.support_weight, batch_size, advance, masks)
        )
    return classes


def measure_class(
    segmenter: Segmenter,
    task: GainTask,
    draws: dict[int, list[Members]],
    support_weight: float,
    batch_size: int,
    advance: Advance,
    masks: FinalMasks = OWN_MASKS,
) -> ClassGain:
    """Segment the test images of a class under every support that was drawn.

    `support_weight` is the share of the real pairs, however many synthetic ones there are. From
    the real pairs come the rules of `masks`, as in step 3, whatever the support. `advance` is moved
    on by one for each test image.
    """
    pairs = [task.load(paths) for paths in task.real]
    encoded = [seen for batch in _encoded(segmenter, pairs, batch_size) for _, seen in batch]
    real = [segmenter.describe(*one) for one in zip(encoded, (p.mask for p in pairs), strict=True)]
    rules = masks.learn(segmenter, pairs, encoded, real)
    synthetic = _prototypes(segmenter, map(_pair_of, task.samples), batch_size)
    everything = tuple(range(len(synthetic)))
    sets = dict.fromkeys(
        [(), everything, *(members for drawn in draws.values() for members in drawn)]
    )
    rows: dict[Members, list[list[int]]] = {members: [] for members in sets}
    shown: list[Shown] = []
    for batch in _encoded(segmenter, map(task.load, task.tests), batch_size):
        ends: dict[Members, list[NDArray[np.bool_]]] = {}
        for members in sets:
            _set_support(segmenter, real, [synthetic[at] for at in members], support_weight)
            predicted = [rules.mask(pair.image, segmenter.segment(seen)) for pair, seen in batch]
            rows[members] += [
                _row(mask, pair) for mask, (pair, _) in zip(predicted, batch, strict=True)
            ]
            if members in ((), everything):
                ends[members] = predicted
        shown += map(Shown, [pair for pair, _ in batch], ends[()], ends[everything])
        del shown[SHOWN:]
        advance(len(batch))
    sums = {members: np.asarray(counts, dtype=np.int64) for members, counts in rows.items()}
    return ClassGain(task, draws, sums, tuple(shown))


def _set_support(
    segmenter: Segmenter,
    real: Sequence[SupportItem],
    synthetic: Sequence[SupportItem],
    support_weight: float,
) -> None:
    if synthetic:
        weights = support_weights(len(real), len(synthetic), support_weight)
        segmenter.set_support([*real, *synthetic], weights)
    else:
        segmenter.set_support(real)


def _encoded(
    segmenter: Segmenter, pairs: Iterable[SupportPair], batch_size: int
) -> Iterator[list[tuple[SupportPair, Encoded]]]:
    """The pairs with what the network sees in them, `batch_size` at a time."""
    rest = iter(pairs)
    while batch := list(itertools.islice(rest, batch_size)):
        yield list(zip(batch, segmenter.encode([pair.image for pair in batch]), strict=True))


def _prototypes(
    segmenter: Segmenter, pairs: Iterable[SupportPair], batch_size: int
) -> list[SupportItem]:
    return [
        segmenter.describe(seen, pair.mask)
        for batch in _encoded(segmenter, pairs, batch_size)
        for pair, seen in batch
    ]


def _pair_of(sample: StoredSample) -> SupportPair:
    return SupportPair(sample.name, sample.read_image(), sample.read_labels())


def _row(predicted: NDArray[np.bool_], pair: SupportPair) -> list[int]:
    both = overlaps(predicted, pair.mask)
    return [number for overlap in both for number in (overlap.intersection, overlap.union)]


@dataclass(frozen=True)
class GainTask:
    """One class: what it is learned from, and what it is tested on.

    `side` is the longer side, in pixels, of its synthetic images: larger photos are reduced to it,
    as in step 3, so that the network sees all of them alike.
    """

    category: str
    real: tuple[PairPaths, ...]
    samples: tuple[StoredSample, ...]
    tests: tuple[PairPaths, ...]
    side: int

    def load(self, paths: PairPaths) -> SupportPair:
        """A real or test pair as the segmenter sees it."""
        return reduce_pair(load_pair(paths), self.side)


def plan_gain(
    bank: PromptBank,
    test_dir: Path,
    sources: Collection[str],
    entry_types: Collection[str],
    exclude: Path | None = None,
) -> list[GainTask]:
    """The classes of `bank`, each with the test pairs in the folder of its name in `test_dir`.

    Synthetic are the refined samples whose `mask_source` is one of `sources` and whose entry's type
    is one of `entry_types`, without those on the list `exclude`. InputError holds every problem: a
    class without any, without a test folder, a test image that is a support image, too.
    """
    if not test_dir.is_dir():
        form = "--test_dir holds a folder of test pairs (1.jpg + 1.png) for each class"
        raise InputError(f"{test_dir}: no such folder; {form}")
    excluded = excluded_samples(exclude, [bank.root])
    samples = [
        sample
        for sample in stored_samples(bank)
        if sample.record.status == "refined"
        and sample.record.mask_source in sources
        and sample.place.entry.type in entry_types
        and sample.name not in excluded
    ]
    tasks, problems = list[GainTask](), list[str]()
    for category in bank.categories:
        try:
            own = [sample for sample in samples if sample.category == category]
            tasks.append(_plan(bank, category, test_dir / category, own))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tasks


def _plan(
    bank: PromptBank, category: str, tests: Path, samples: Sequence[StoredSample]
) -> GainTask:
    if not tests.is_dir():
        what = "put the test pairs of this class there, or choose others by --categories"
        raise InputError(f"{tests}: no such folder; {what}")
    if problems := check_support(tests):
        raise InputError(problems)
    if not samples:
        what = f"{bank.root}: no {category} has a mask of the wanted kind"
        raise InputError(f"{what}; run the three steps, or choose other classes by --categories")
    entries = [entry for entry in bank.entries if entry.category == category]
    folders = dict.fromkeys((entry.support_dir, entry.mask_class) for entry in entries)
    real = [pair for folder, which in folders for pair in find_pairs(bank.root / folder, which)]
    known = {file_fingerprint(pair.image): pair.image for pair in real}
    for pair in find_pairs(tests):
        if (twin := known.get(file_fingerprint(pair.image))) is not None:
            problems.append(f"{pair.image}: is support as well ({twin}); test on images held out")
    if problems:
        raise InputError(problems)
    side = max(check_image(samples[0].image_file))
    return GainTask(category, tuple(real), tuple(samples), tuple(find_pairs(tests)), side)

"""The classes of an evaluation: their pairs, found and checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.samples import StoredSample, excluded_samples, stored_samples
from aligndiff.dataset.support import PairPaths, check_support, find_pairs
from aligndiff.evaluation.gain.config import GainConfig

_HELD_OUT = 0.3  # of the real pairs, to choose a recipe by


@dataclass(frozen=True)
class GainClass:
    """What there is of a class. Without `tests` real pairs are left out to test on."""

    category: str
    real: tuple[PairPaths, ...]
    samples: tuple[StoredSample, ...]
    tests: tuple[PairPaths, ...]
    validation: tuple[PairPaths, ...]


@dataclass(frozen=True)
class Split:
    """Which pairs of a class one training learns from, and which it is tested on."""

    real: tuple[PairPaths, ...]
    samples: tuple[StoredSample, ...]  # in the order in which they are drawn
    tests: tuple[PairPaths, ...]
    validation: tuple[PairPaths, ...]


def split_class(pairs: GainClass, draw: int, fold: int, folds: int, hold_out: bool) -> Split:
    """The pairs of a draw and fold. With `hold_out` the validation pairs are real ones.

    The draws of samples are nested: a smaller number of them is a part of a larger one.
    """
    rng = np.random.default_rng((draw, 11))
    samples = tuple(pairs.samples[at] for at in rng.permutation(len(pairs.samples)))
    order = [pairs.real[at] for at in rng.permutation(len(pairs.real))]
    tests = pairs.tests or tuple(order[fold::folds])
    rest = [pair for pair in order if pair not in tests]
    if not hold_out:
        return Split(tuple(rest), samples, tests, pairs.validation)
    count = min(max(1, round(_HELD_OUT * len(rest))), len(rest) - 1)
    return Split(tuple(rest[count:]), samples, (), tuple(rest[:count]))


def find_classes(bank: PromptBank, config: GainConfig) -> list[GainClass]:
    """The classes of the bank with all their pairs. InputError holds the problems of all of them.

    Such as a class without samples, without a folder of tests, or a test photo that is learned
    from too.
    """
    folders = {"--test_dir": config.test_dir, "--val_dir": config.val_dir}
    problems = [
        f"{option} {folder}: no such folder; give one that holds <class>/1.jpg + 1.png"
        for option, folder in folders.items()
        if folder is not None and not folder.is_dir()
    ]
    if problems:
        raise InputError(problems)
    samples = _samples(bank, config)
    classes = []
    for category in bank.categories:
        try:
            own = tuple(sample for sample in samples if sample.category == category)
            classes.append(_find_class(bank, category, own, config))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return classes


def _samples(bank: PromptBank, config: GainConfig) -> list[StoredSample]:
    excluded = excluded_samples(config.exclude, [bank.root])
    return [
        sample
        for sample in stored_samples(bank)
        if sample.record.status == "refined"
        and sample.record.mask_source in config.sources
        and sample.place.entry.type in config.entry_types
        and sample.name not in excluded
    ]


def _find_class(
    bank: PromptBank, category: str, samples: tuple[StoredSample, ...], config: GainConfig
) -> GainClass:
    if not samples:
        what = f"{bank.root}: no {category} has a mask of the wanted kind"
        raise InputError(f"{what}; run the three steps, or choose other classes by --categories")
    entries = [entry for entry in bank.entries if entry.category == category]
    folders = dict.fromkeys((entry.support_dir, entry.mask_class) for entry in entries)
    real = tuple(p for folder, which in folders for p in find_pairs(bank.root / folder, which))
    tests = _held_out(config.test_dir, category, real)
    validation = _held_out(config.val_dir, category, (*real, *tests))
    if not tests and len(real) < 2:
        raise InputError(
            f"{bank.root}: {category} has one real pair and none can be left out; give --test_dir"
        )
    return GainClass(category, real, samples, tests, validation)


def _held_out(
    folder: Path | None, category: str, known: Sequence[PairPaths]
) -> tuple[PairPaths, ...]:
    """The pairs of a class in a folder of held-out ones; none of them may be `known`."""
    if folder is None:
        return ()
    own = folder / category
    if not own.is_dir():
        what = "put the held-out pairs of this class there, or choose others by --categories"
        raise InputError(f"{own}: no such folder; {what}")
    if problems := check_support(own):
        raise InputError(problems)
    pairs = tuple(find_pairs(own))
    twins = _by_content(known)
    problems = [
        f"{pair.image}: is {twins[key]} as well; test and choose on images held out"
        for pair in pairs
        if (key := file_fingerprint(pair.image)) in twins
    ]
    if problems:
        raise InputError(problems)
    return pairs


def _by_content(pairs: Iterable[PairPaths]) -> dict[str, Path]:
    return {file_fingerprint(pair.image): pair.image for pair in pairs}

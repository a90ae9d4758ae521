"""What the question "did it help?" needs: real pairs, synthetic samples and held-out test pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.excluded import excluded_samples
from aligndiff.dataset.images import check_image
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.samples import StoredSample, stored_samples
from aligndiff.dataset.support import PairPaths, SupportPair, check_support, find_pairs, load_pair
from aligndiff.refinement.files import reduce_pair


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
        wanted = "--test_dir holds a folder of test pairs (1.jpg + 1.png) for each class"
        raise InputError(f"{test_dir}: no such folder; {wanted}")
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
    folders = dict.fromkeys(e.support_dir for e in bank.entries if e.category == category)
    real = [pair for folder in folders for pair in find_pairs(bank.root / folder)]
    known = {file_fingerprint(pair.image): pair.image for pair in real}
    for pair in find_pairs(tests):
        if (twin := known.get(file_fingerprint(pair.image))) is not None:
            problems.append(f"{pair.image}: is support as well ({twin}); test on images held out")
    if problems:
        raise InputError(problems)
    side = max(check_image(samples[0].image_file))
    return GainTask(category, tuple(real), tuple(samples), tuple(find_pairs(tests)), side)

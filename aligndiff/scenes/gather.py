"""Gathering the materials of a category: its instances, backgrounds, and other things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from aligndiff.composition.instance import Instance, cut_out
from aligndiff.composition.paste import Composite
from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint
from aligndiff.dataset.entries import Entry
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.samples import StoredSample
from aligndiff.dataset.support import PairPaths, SupportPair, find_pairs, load_pair, reduce_pair
from aligndiff.scenes.backgrounds import Background, spoken
from aligndiff.scenes.config import MaterialOptions
from aligndiff.scenes.materials import Material, Materials


def gather(
    bank: PromptBank,
    category: str,
    samples: Sequence[StoredSample],
    backgrounds: Sequence[Background],
    options: MaterialOptions,
    side: int,
) -> Materials:
    """What the scenes of a category can be made of.

    `bank` is the whole prompt bank: real pairs of its other categories are other things. `samples`
    are those of the category; `side` is the longer one of the scenes: larger pairs are reduced to
    twice of it. Raises InputError when there is nothing to paste, or nothing to paste it on.
    """
    grounds = [item for item in backgrounds if not item.shows(category)]
    if not grounds:
        raise InputError(
            f"{category}: every background shows one; give --backgrounds of other things"
        )
    if set(options.sources) != {"real"} and not samples:
        raise InputError(
            f"{category}: no samples with a mask to paste; make them with python -m "
            f"scripts.diffuse_img_attention and scripts.mask_generation --dataset_dir {bank.root}, "
            "or paste the real pairs alone: --sources real"
        )
    own = spoken(category)
    real = list(_pairs_of(bank, (e for e in bank.entries if e.category == category)))
    foreign = _pairs_of(bank, (e for e in bank.entries if spoken(e.category) != own))
    things = [thing for item in backgrounds for thing in item.things]
    return Materials(
        pairs=_balanced(real, samples, options, side),
        backgrounds=[item.material for item in grounds],
        others=[
            *(thing.material for thing in things if spoken(thing.category) != own),
            *(_other_pair(name, paths, side) for name, paths in foreign),
        ],
        support=[_cut_pair(paths, side).extent for _, paths in real],
    )


def _balanced(
    real: Sequence[tuple[str, PairPaths]],
    samples: Sequence[StoredSample],
    options: MaterialOptions,
    side: int,
) -> list[Material[Composite]]:
    """Real pairs, repeated until they are as likely as the samples, and the samples."""
    pairs = [_real_pair(name, paths, side) for name, paths in real]
    repeats = max(1, round(len(samples) / max(len(pairs), 1)))
    repeated = pairs * repeats if "real" in options.sources else []
    return [*repeated, *map(_sample, samples)]


def _pairs_of(bank: PromptBank, entries: Iterable[Entry]) -> Iterator[tuple[str, PairPaths]]:
    """The real pairs of entries, with their names; entries may share a folder."""
    folders = {(entry.support_dir, entry.mask_class): entry for entry in entries}
    for folder, mask_class in folders:
        for paths in find_pairs(bank.root / folder, mask_class):
            yield f"{folder}/{paths.name}", paths


def _real_pair(name: str, paths: PairPaths, side: int) -> Material[Composite]:
    return Material("pair", name, _identity(paths), partial(_read_pair, paths, side))


def _other_pair(name: str, paths: PairPaths, side: int) -> Material[Instance | None]:
    return Material("other pair", name, _identity(paths), partial(_cut_pair, paths, side))


def _sample(sample: StoredSample) -> Material[Composite]:
    identity = f"{sample.record.seed} {sample.record.refinement}"
    return Material("sample", sample.name, identity, partial(_read_sample, sample))


def _identity(paths: PairPaths) -> str:
    return f"{file_fingerprint(paths.image)} {file_fingerprint(paths.mask)} {paths.mask_class}"


def _load(paths: PairPaths, side: int) -> SupportPair:
    return reduce_pair(load_pair(paths), 2 * side)


def _read_pair(paths: PairPaths, side: int) -> Composite:
    pair = _load(paths, side)
    return Composite(pair.image, pair.mask)


def _cut_pair(paths: PairPaths, side: int) -> Instance:
    pair = _load(paths, side)
    return cut_out(pair.image, pair.mask)


def _read_sample(sample: StoredSample) -> Composite:
    image, mask = sample.read_image(), sample.read_mask()
    if mask.shape != image.shape[:2]:
        raise InputError(f"{sample.name}: its mask has another size than its image; repeat step 3")
    if not mask.any():
        raise InputError(f"{sample.name}: its mask is empty; repeat step 3 with --overwrite")
    return Composite(image, mask.astype(np.uint8))

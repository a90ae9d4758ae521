"""Which images are exported, and which of them are kept for validation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from aligndiff.core.errors import InputError
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.samples import StoredSample, read_names, stored_samples, unknown_names
from aligndiff.dataset.scenes import SCENE, stored_scenes
from aligndiff.dataset.support import find_pairs
from aligndiff.export.config import SelectionConfig
from aligndiff.export.items import (
    ExportItem,
    Split,
    item_of_pair,
    item_of_sample,
    item_of_scene,
)

THREADS = 4  # decoding and encoding release Python's lock; more of them wait for the disk


@dataclass(frozen=True)
class Selection:
    """The chosen items, entry by entry, real pairs last, and the numbers of those left out."""

    items: tuple[ExportItem, ...]
    left_out: dict[str, int]  # by the reason
    config: SelectionConfig

    def split(self, item: ExportItem) -> Split:
        """ "val" for a part of the samples, by a hash of the name and the seed alone.

        So no sample moves between the splits when others come or go, and a larger part only adds
        to the smaller one. Real pairs are "train": what they look like is known to every sample;
        and so are scenes, which show samples again.
        """
        if item.made_as is None or item.source == SCENE:
            return "train"
        return "val" if is_for_validation(item.name, self.config) else "train"


def is_for_validation(name: str, config: SelectionConfig) -> bool:
    """Whether the sample of this name goes to the validation split."""
    return hash_of(name, config.seed) / 2**64 < config.val_fraction


def hash_of(name: str, seed: int) -> int:
    """64 bits, evenly spread, from the name and the seed alone."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def select(bank: PromptBank, config: SelectionConfig) -> Selection:
    """Choose samples of the whole bank, as `config` says.

    Raises InputError when nothing is left, or nothing to train on, and for unknown names in the
    list of excluded ones.
    """
    chosen = bank.select(config.categories)
    categories, left_out = set(chosen.categories), Counter[str]()
    excluded = read_names(config.exclude) if config.exclude else {}
    marked = frozenset(excluded)
    support = _support_items(chosen) if config.include_support else []

    kept: list[ExportItem] = []
    for sample in stored_samples(bank):
        listed = excluded.pop(sample.name, None) is not None
        if sample.category in categories:
            reason = "--exclude" if listed else _unfit(sample, config)
            if reason:
                left_out[reason] += 1
            else:
                kept.append(item_of_sample(sample))
    for scene in stored_scenes(bank):
        listed = excluded.pop(scene.name, None) is not None
        if scene.category in categories:
            item = item_of_scene(scene)
            reason = "--exclude" if listed else _unfit_scene(item, config, marked)
            if reason:
                left_out[reason] += 1
            else:
                kept.append(item)
    fit = [item for item in support if excluded.pop(item.name, None) is None]
    if excluded:
        raise InputError(unknown_names(config.exclude, excluded))
    if (config.min_area, config.max_area) != (0, 1):
        kept = _of_fitting_area(kept, config, left_out)
    if config.max_per_class is not None:
        kept = _surest(kept, config.max_per_class, left_out)
    selection = Selection((*kept, *fit), dict(left_out), config)
    _check(selection, kept)
    return selection


def _unfit(sample: StoredSample, config: SelectionConfig) -> str:
    """Why a sample is left out by its record; empty when it is not."""
    record = sample.record
    if record.status == "rejected":
        return "rejected by step 3"
    if record.status != "refined" or record.mask_source is None:
        return "no mask yet (step 3 makes them)"
    if record.mask_source not in config.sources:
        return "--sources"
    if (record.iou or 0.0) < config.min_iou:
        return "--min_iou"
    if (record.score or 0.0) < config.min_score:
        return "--min_score"
    return "--min_likeness" if (record.likeness or 0.0) < config.min_likeness else ""


def _unfit_scene(item: ExportItem, config: SelectionConfig, excluded: Collection[str]) -> str:
    """Why a scene is left out; empty when it is not.

    A scene that shows a sample of the validation split would give it away.
    """
    if SCENE not in config.sources:
        return "--sources"
    if not item.made_of.isdisjoint(excluded):
        return "scenes with a sample of --exclude"
    if any(is_for_validation(name, config) for name in item.made_of):
        return "scenes with a sample of the validation split"
    return ""


def _support_items(bank: PromptBank) -> list[ExportItem]:
    """The real pairs of every category; entries may share a folder."""
    folders = {(e.category, e.support_dir, e.mask_class): e for e in bank.entries}
    return [
        item_of_pair(entry, pair)
        for entry in folders.values()
        for pair in find_pairs(bank.root / entry.support_dir, entry.mask_class)
    ]


def _of_fitting_area(
    items: Sequence[ExportItem], config: SelectionConfig, left_out: Counter[str]
) -> list[ExportItem]:
    kept = []
    for item, area in zip(items, _areas(items), strict=True):
        # One that cannot be read stays: it is reported when it is to be written.
        if area is None or config.min_area <= area <= config.max_area:
            kept.append(item)
        else:
            left_out["--min_area" if area < config.min_area else "--max_area"] += 1
    return kept


def _areas(items: Iterable[ExportItem]) -> Iterator[float | None]:
    def area(item: ExportItem) -> float | None:
        try:
            return item.read().area
        except InputError:
            return None

    return prefetch_map(area, items, 2 * THREADS, THREADS)


def _surest(items: Sequence[ExportItem], most: int, left_out: Counter[str]) -> list[ExportItem]:
    """The `most` surest items of every category, in their old order."""
    of: dict[str, list[ExportItem]] = {}
    for item in items:
        of.setdefault(item.category, []).append(item)
    names = {
        item.name
        for group in of.values()
        for item in sorted(group, key=lambda item: item.sureness)[:most]
    }
    if len(names) < len(items):
        left_out["--max_per_class"] += len(items) - len(names)
    return [item for item in items if item.name in names]


def _check(selection: Selection, samples: Sequence[ExportItem]) -> None:
    """Raise InputError when no sample is left, or none to train on."""
    if not samples:
        counts = ", ".join(f"{count} {why}" for why, count in selection.left_out.items())
        if not counts:
            raise InputError("there are no samples; run steps 2 and 3 first")
        raise InputError(f"no sample is left ({counts}); ask for less, or make more")
    if all(selection.split(item) == "val" for item in samples):
        raise InputError(
            f"all samples fall to the validation split ({len(samples)} of them); use another "
            "--seed or --val_fraction 0"
        )

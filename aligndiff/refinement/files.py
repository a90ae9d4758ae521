"""The files of step 3: support and samples in, masks and records out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from aligndiff.core.console import Advance
from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json
from aligndiff.dataset.images import (
    Uint8,
    check_image,
    read_grey,
    read_image,
    write_labels,
)
from aligndiff.dataset.records import FailureRecord, SampleRecord
from aligndiff.dataset.samples import read_sample
from aligndiff.dataset.shards import pack, unpack
from aligndiff.dataset.support import SupportPair, load_support
from aligndiff.refinement.plan import RefinementPlan, outcomes_on_disk
from aligndiff.refinement.verdicts import Verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Query:
    """A synthetic image and its heatmap, read when they are needed, not before.

    `read_image` gives uint8 (h, w, 3), `read_heatmap` uint8 (h, w); both may raise InputError.
    """

    index: int
    read_image: Callable[[], Uint8]
    read_heatmap: Callable[[], Uint8]


def queries_of(plan: RefinementPlan) -> list[Query]:
    """The samples of the entry, in order; nothing is read yet."""
    place = plan.place
    return [
        Query(
            sample.index,
            partial(read_image, place.image_path(sample.index, sample.image_format)),
            partial(read_grey, place.heatmap_path(sample.index)),
        )
        for sample in plan.samples
    ]


def support_of(plan: RefinementPlan) -> list[SupportPair]:
    """The real pairs, none larger than the synthetic images: the network's memory goes with it."""
    side = _longest_side(plan)
    return load_support(plan.support_dir, plan.entry.mask_class, side)


def clear_masks(plan: RefinementPlan) -> int:
    """Forget the entry's earlier masks and note the settings of the new ones.

    A record forgets its mask before the mask goes: a record never promises a mask that is not
    there. Packed samples become loose files first; returns how many there were.
    """
    unpacked = unpack(plan.place)
    for sample in plan.samples:
        # Not the plan's copy: another process may have had this entry in hand since, and is gone.
        if read_sample(plan.place, sample.index).record.refinement is not None:
            _forgotten(sample).write(plan.place.record_path(sample.index))
        plan.place.mask_path(sample.index).unlink(missing_ok=True)
    write_json(plan.settings_file, {"settings": dict(plan.settings)})
    return unpacked


def write_mask_and_record(plan: RefinementPlan, sample: SampleRecord, verdict: Verdict) -> None:
    """Keep a sample: its mask, then its record, which marks it done."""
    write_labels(plan.place.mask_path(sample.index), verdict.labels)
    assert verdict.outcome in ("consensus", "pseudo_label")
    record = replace(
        _forgotten(sample),
        status="refined",
        mask_source=verdict.outcome,
        iou=verdict.iou,
        score=verdict.score,
        ailments=verdict.ailments,
        likeness=verdict.likeness,
    )
    _write_done(plan, record)


def write_rejection(plan: RefinementPlan, sample: SampleRecord, verdict: Verdict) -> None:
    """Reject a sample: a record with the reason, and no mask."""
    plan.place.mask_path(sample.index).unlink(missing_ok=True)
    record = replace(
        _forgotten(sample),
        status="rejected",
        rejected_because=verdict.reason or "",
        iou=verdict.iou,
        likeness=verdict.likeness,
    )
    _write_done(plan, record)


def write_failure(plan: RefinementPlan, sample: SampleRecord, reason: str) -> Path:
    """Note why a sample has no verdict, beside its record, which stays as it is."""
    path = plan.place.failure_path(sample.index)
    FailureRecord(3, reason, sample.index).write(path)
    return path


def pack_refined(plans: Sequence[RefinementPlan], shard_size: int, advance: Advance) -> int:
    """Pack every entry whose samples all have their verdict; returns how many entries failed.

    The others stay as they are, which is told.
    """
    failed = 0
    for plan in plans:
        outcomes = outcomes_on_disk(plan)
        records = [record for record in outcomes if record is not None]
        if missing := len(outcomes) - len(records):
            have = "has" if missing == 1 else "have"
            logger.warning(
                "note: %s: not packed, %d of its samples %s no verdict",
                plan.entry.id,
                missing,
                have,
            )
            continue
        try:
            pack(plan.place, records, shard_size, partial(advance, category=plan.entry.category))
        except InputError as error:
            failed += 1
            problems = "; ".join(error.problems)
            logger.warning("failed: %s: not packed: %s", plan.entry.id, problems)
    return failed


def _longest_side(plan: RefinementPlan) -> int | None:
    """The longer side of the first synthetic image that can be read, in pixels."""
    for sample in plan.samples:
        try:
            return max(check_image(plan.place.image_path(sample.index, sample.image_format)))
        except InputError:
            continue  # told when its turn comes
    return None


def _write_done(plan: RefinementPlan, record: SampleRecord) -> None:
    plan.place.failure_path(record.index).unlink(missing_ok=True)
    replace(record, refinement=plan.fingerprint).write(plan.place.record_path(record.index))


def _forgotten(record: SampleRecord) -> SampleRecord:
    """The record as step 2 wrote it."""
    return SampleRecord(
        record.index, record.seed, "synthesized", record.image_format, record.fingerprint
    )

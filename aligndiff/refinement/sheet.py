"""The contact sheet of step 3: consensus, pseudo-label and rejected samples of each entry."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.dataset.samples import StoredSample, read_sample
from aligndiff.dataset.support import SUPPORT_SIDE, load_support
from aligndiff.refinement.plan import RefinementPlan
from aligndiff.render.sheet import Mark, SheetRow, SheetSample, step_sheet, write_sheet

SAMPLES_SHOWN = 6  # of each entry, three beside each other


def write_refinement_sheet(root: Path, plans: Sequence[RefinementPlan]) -> Path:
    """Draw what lies on disk of the planned entries; returns the sheet's path."""
    rows = [
        SheetRow(
            title=plan.entry.category,
            subtitle=EntryRecord.read(plan.place.entry_json).prompt,
            support=load_support(plan.support_dir, plan.entry.mask_class, SUPPORT_SIDE),
            samples=_samples(plan),
        )
        for plan in plans
    ]
    path = sheet_path(root, "3_masks")
    write_sheet(path, step_sheet("Step 3: masks", rows))
    return path


def _samples(plan: RefinementPlan) -> list[SheetSample]:
    """A few samples, the outcomes taken in turn so that each is seen, then sorted by index."""
    kinds: dict[str, list[StoredSample]] = {}
    for planned in plan.samples:
        stored = read_sample(plan.place, planned.index)
        kinds.setdefault(stored.record.mask_source or stored.record.status, []).append(stored)
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
    shown: list[tuple[int, SheetSample]] = []
    for stored in filter(None, in_turn):
        try:
            shown.append((stored.record.index, _sample(stored)))
        except InputError:
            continue  # told when it was refined
        if len(shown) == SAMPLES_SHOWN:
            break
    return [sample for _, sample in sorted(shown, key=lambda pair: pair[0])]


def _sample(stored: StoredSample) -> SheetSample:
    note, mark = _note(stored.record)
    return SheetSample(
        image=stored.read_image(),
        heatmap=stored.read_heatmap(),
        mask=stored.read_mask() if stored.record.status == "refined" else None,
        note=note,
        mark=mark,
    )


def _note(record: SampleRecord) -> tuple[str, Mark | None]:
    iou = "" if record.iou is None else f", IoU {record.iou:.2f}"
    if record.mask_source == "consensus":
        return f"consensus{iou}", "good"
    if record.mask_source == "pseudo_label":
        return f"pseudo-label{iou}", "guess"
    if record.status == "rejected":
        return f"rejected: {record.rejected_because}", "bad"
    return "not refined", None

"""The contact sheet of step 2: a few samples of each entry with their heatmaps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.dataset.layout import sheet_path
from aligndiff.dataset.samples import read_sample, sample_indices
from aligndiff.dataset.support import SUPPORT_SIDE, load_support
from aligndiff.render.sheet import SheetRow, SheetSample, step_sheet, write_sheet
from aligndiff.synthesis.plan import EntryPlan

SAMPLES_SHOWN = 6  # of each entry, three beside each other


def write_synthesis_sheet(root: Path, plans: Sequence[EntryPlan]) -> Path:
    """Draw what lies on disk of the planned entries; returns the sheet's path."""
    rows = [_row(root, plan) for plan in plans]
    path = sheet_path(root, "2_synthesis")
    write_sheet(path, step_sheet("Step 2: images and their heatmaps", rows))
    return path


def _row(root: Path, plan: EntryPlan) -> SheetRow:
    made = (index for index in sample_indices(plan.place) if index < plan.count)
    return SheetRow(
        title=plan.entry.category,
        subtitle=plan.record.prompt,
        support=load_support(root / plan.entry.support_dir, plan.entry.mask_class, SUPPORT_SIDE),
        samples=list(itertools.islice(_readable(plan, made), SAMPLES_SHOWN)),
    )


def _readable(plan: EntryPlan, indices: Iterable[int]) -> Iterator[SheetSample]:
    """The samples that can be shown; another process may be replacing the others."""
    for index in indices:
        try:
            yield _sample(plan, index)
        except InputError:
            continue


def _sample(plan: EntryPlan, index: int) -> SheetSample:
    stored = read_sample(plan.place, index)
    return SheetSample(stored.read_image(), stored.read_heatmap())

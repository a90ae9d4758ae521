"""What step 3 has to do: which samples each entry has, with which settings, what is done already.

The samples of an entry decide together (trusted ones become support for the others), so an entry is
refined as a whole: its records carry one fingerprint of the settings and of the list of samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import fingerprint
from aligndiff.dataset.entries import Entry
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.records import EntryRecord, SampleRecord, describe_changes
from aligndiff.dataset.samples import (
    SETTINGS_FILE,
    heatmap_findings,
    read_sample,
    sample_indices,
    settings_on_disk,
)
from aligndiff.dataset.support import support_fingerprint
from aligndiff.refinement.config import RefinementConfig


@dataclass(frozen=True)
class RefinementPlan:
    """One entry to refine: all samples that step 2 has finished, and what decides their masks."""

    place: EntryFolder
    samples: tuple[SampleRecord, ...]
    settings: Mapping[str, Any]  # thresholds, checkpoint, precision and the support's fingerprint
    unfinished: int  # records of other settings of step 2, left out

    @property
    def entry(self) -> Entry:
        return self.place.entry

    @property
    def support_dir(self) -> Path:
        return self.place.root / self.entry.support_dir

    @property
    def settings_file(self) -> Path:
        """What the entry was refined with."""
        return self.place.folder / SETTINGS_FILE

    @cached_property  # thousands of samples, and each one's record carries it
    def fingerprint(self) -> str:
        """Of the settings and the samples: changes when samples are added or made again."""
        samples = [[sample.index, sample.seed, sample.fingerprint] for sample in self.samples]
        return fingerprint([dict(self.settings), samples])

    @property
    def is_done(self) -> bool:
        """Whether every sample was refined in just this company, with these settings."""
        return all(sample.refinement == self.fingerprint for sample in self.samples)


def plan_refinements(
    bank: PromptBank,
    config: RefinementConfig,
    segmenter: str,
    precision: str,
    judged: Mapping[str, Any] | None = None,
) -> list[RefinementPlan]:
    """The plans of all entries that have samples. Reads files, loads no model.

    `segmenter` is what the records say of it (`SegmenterChoice.identity`), `judged` what they say
    of the model that is asked about regions, if any (`Judging.settings`).

    Raises InputError when no entry has any, or when records cannot be read.
    """
    settings = {**config.settings, "checkpoint": segmenter, "precision": precision}
    settings |= judged or {}
    plans: list[RefinementPlan] = []
    problems: list[str] = []
    for entry in bank.entries:
        try:
            plans.append(_plan_entry(EntryFolder(bank.root, entry), settings))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if not any(plan.samples for plan in plans):
        raise InputError(
            f"{bank.root}: no synthesized images of the chosen entries; run python -m "
            f"scripts.diffuse_img_attention --dataset_dir {bank.root} first"
        )
    return [plan for plan in plans if plan.samples]


def _plan_entry(place: EntryFolder, settings: Mapping[str, Any]) -> RefinementPlan:
    record = EntryRecord.read_or_none(place.entry_json)
    indices = [] if record is None else sample_indices(place)
    samples = [read_sample(place, index).record for index in indices]
    made = [sample for sample in samples if record and sample.fingerprint == record.fingerprint]
    support_dir = place.root / place.entry.support_dir
    support = support_fingerprint(support_dir, place.entry.mask_class)
    settings = {**settings, "support": support}
    refined = record is not None and "heatmap" in record.settings
    if refined and (found := heatmap_findings(place)) is not None:
        # Of these heatmaps, whatever threshold fits others.
        settings |= {"heatmap_threshold": found.threshold, "support_iou": found.support_iou}
    return RefinementPlan(place, tuple(made), settings, len(samples) - len(made))


def check_settings(plans: Iterable[RefinementPlan]) -> None:
    """Raise one InputError naming every entry that has masks made with other settings."""
    problems = []
    for plan in plans:
        if not any(sample.refinement for sample in plan.samples):
            continue
        old = settings_on_disk(plan.place)
        if old != plan.settings:
            problems.append(
                f"{plan.place.folder}: its masks were made with other settings "
                f"({_changes(old, plan.settings)}); give these again, or --overwrite to make the "
                "masks again"
            )
    if problems:
        raise InputError(problems)


@dataclass(frozen=True)
class RefinementCounts:
    """What became of the samples of a class."""

    category: str
    consensus: int
    pseudo_label: int
    rejected: int
    failed: int
    mean_iou: float | None  # of the first masks with the heatmaps; None when there is none


def count_outcomes(plans: Sequence[RefinementPlan]) -> list[RefinementCounts]:
    """The outcomes on disk, class by class and then "all": failed is what was not refined."""
    categories = list(dict.fromkeys(plan.entry.category for plan in plans))
    rows = []
    for category in categories:
        chosen = [plan for plan in plans if plan.entry.category == category]
        outcomes = [outcome for plan in chosen for outcome in outcomes_on_disk(plan)]
        rows.append(_count(category, outcomes))
    everything = [outcome for plan in plans for outcome in outcomes_on_disk(plan)]
    return rows if len(rows) == 1 else [*rows, _count("all", everything)]


def _count(category: str, outcomes: Sequence[SampleRecord | None]) -> RefinementCounts:
    done = [record for record in outcomes if record is not None]
    ious = [record.iou for record in done if record.iou is not None]
    return RefinementCounts(
        category,
        consensus=sum(record.mask_source == "consensus" for record in done),
        pseudo_label=sum(record.mask_source == "pseudo_label" for record in done),
        rejected=sum(record.status == "rejected" for record in done),
        failed=len(outcomes) - len(done),
        mean_iou=sum(ious) / len(ious) if ious else None,
    )


def outcomes_on_disk(plan: RefinementPlan) -> list[SampleRecord | None]:
    """The records of the plan's samples as they are now; None for one that is not refined."""
    current = plan.fingerprint
    records = [read_sample(plan.place, s.index).record for s in plan.samples]
    return [record if record.refinement == current else None for record in records]


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if not old:
        return f"there is no {SETTINGS_FILE} to tell which"
    return describe_changes(old, new)

"""What step 3 has to do: which samples each entry has, with which settings, what is done already.

The samples of an entry decide together (agreed ones become support for the others), so an entry is
refined as a whole: its records carry one fingerprint of the settings and of the list of samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint, read_json
from aligndiff.core.limits import MOST_IN_A_BATCH
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import Entry, PromptBank
from aligndiff.dataset.records import EntryRecord, SampleRecord, describe_changes
from aligndiff.dataset.samples import read_sample, sample_indices
from aligndiff.dataset.support import support_fingerprint

SETTINGS_FILE = "refinement.json"


@dataclass(frozen=True)
class RefinementConfig:
    """The thresholds of Algorithm 1. Everything but the batch size decides the masks."""

    consensus_iou_threshold: float = field(
        default=0.8,
        metadata={"help": "a mask is agreed when its IoU with the heatmap is above this, 0 to 1"},
    )
    foreground_threshold: float = field(
        default=0.4,
        metadata={"help": "object where the first pass's probability is above this, 0 to 1"},
    )
    heatmap_threshold: float = field(
        default=0.4, metadata={"help": "object where the heatmap / 255 is above this, 0 to 1"}
    )
    pseudo_label_threshold: float = field(
        default=0.5,
        metadata={"help": "object where the second pass's probability is above this, 0 to 1"},
    )
    support_weight: float = field(
        default=0.5,
        metadata={"help": "weight of the real pairs in the second pass, the trusted have the rest"},
    )
    batch_size: int = field(
        default=8, metadata={"help": "images segmented at once; changes speed and memory only"}
    )

    def __post_init__(self) -> None:
        problems = [
            f"--{name} must be from 0 to 1, not {getattr(self, name)}"
            for name in (
                "consensus_iou_threshold",
                "foreground_threshold",
                "heatmap_threshold",
                "pseudo_label_threshold",
            )
            if not 0 <= getattr(self, name) <= 1
        ]
        if not 0 < self.support_weight < 1:
            problems.append(f"--support_weight must be between 0 and 1, not {self.support_weight}")
        if not 1 <= self.batch_size <= MOST_IN_A_BATCH:
            problems.append(
                f"--batch_size must be from 1 to {MOST_IN_A_BATCH}, not {self.batch_size}"
            )
        if problems:
            raise InputError(problems)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks, as the entry's record keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "batch_size"}


def prototype_weights(support: int, trusted: int, support_weight: float) -> list[float]:
    """One weight per pair, support first: a few real pairs are not drowned by many trusted ones.

    The real pairs share `support_weight`, the trusted ones, of which there is at least one, the
    rest of 1.
    """
    real = [support_weight / support] * support
    return real + [(1 - support_weight) / trusted] * trusted


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
    bank: PromptBank, config: RefinementConfig, checkpoint: Path, precision: str
) -> list[RefinementPlan]:
    """The plans of all entries that have samples. Reads files, loads no model.

    Raises InputError when no entry has any, or when records cannot be read.
    """
    identity = f"{checkpoint.name} {file_fingerprint(checkpoint)}"
    settings = {**config.settings, "checkpoint": identity, "precision": precision}
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
    support = support_fingerprint(place.root / place.entry.support_dir)
    return RefinementPlan(
        place, tuple(made), {**settings, "support": support}, len(samples) - len(made)
    )


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
    agreed: int
    guessed: int
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
        agreed=sum(record.mask_source == "consensus" for record in done),
        guessed=sum(record.mask_source == "pseudo_label" for record in done),
        rejected=sum(record.status == "rejected" for record in done),
        failed=len(outcomes) - len(done),
        mean_iou=sum(ious) / len(ious) if ious else None,
    )


def outcomes_on_disk(plan: RefinementPlan) -> list[SampleRecord | None]:
    """The records of the plan's samples as they are now; None for one that is not refined."""
    wanted = plan.fingerprint
    records = [read_sample(plan.place, s.index).record for s in plan.samples]
    return [record if record.refinement == wanted else None for record in records]


def settings_on_disk(place: EntryFolder) -> dict[str, Any]:
    """What the masks of an entry were made with; empty when nothing tells."""
    path = place.folder / SETTINGS_FILE
    if not path.exists():
        return {}
    found = read_json(path)
    settings = found.get("settings") if isinstance(found, dict) else None
    return settings if isinstance(settings, dict) else {}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if not old:
        return f"there is no {SETTINGS_FILE} to tell which"
    return describe_changes(old, new)

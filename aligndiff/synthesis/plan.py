"""Which samples step 2 has to make: how many of each entry, with which seeds, what is there.

A sample is its entry and its index: seed, noise and file names come from these (and the user's
seed) alone, never from rank, world size or batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import EmbeddingEntry, Entry, placeholder_tokens
from aligndiff.dataset.layout import OUTDATED, EntryFolder, embedding_dir, embedding_file
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.records import (
    EntryRecord,
    SampleRecord,
    describe_changes,
    is_made,
    read_record,
)
from aligndiff.dataset.samples import discard_sample, sample_indices, sample_seed
from aligndiff.dataset.shards import packed_sample, remove_shards
from aligndiff.dataset.support import support_fingerprint
from aligndiff.diffusion.adapters import adaptation_fingerprint
from aligndiff.diffusion.embeddings import count_vectors
from aligndiff.diffusion.load import model_identity
from aligndiff.synthesis.config import SynthesisConfig


@dataclass(frozen=True)
class EntryPlan:
    """An entry's samples 0 .. count - 1, to be made as `record` says."""

    place: EntryFolder
    record: EntryRecord
    count: int
    embedding: Path | None = None  # the learned vectors of an embedding entry
    adaptation: Path | None = None  # what is tuned of the denoiser with them

    @property
    def entry(self) -> Entry:
        return self.place.entry

    @property
    def negative_prompt(self) -> str:
        """What the images are not to show; empty: nothing."""
        return str(self.record.settings.get("negative_prompt", ""))

    def sample(self, index: int) -> Sample:
        """The sample of this number, with its seed."""
        return Sample(self, index, sample_seed(self.record.settings["seed"], self.entry.id, index))


@dataclass(frozen=True)
class Sample:
    """One image to make: number `index` of an entry, from its own `seed`."""

    plan: EntryPlan
    index: int
    seed: int

    @property
    def record_path(self) -> Path:
        """The last of its files."""
        return self.plan.place.record_path(self.index)

    @property
    def is_made(self) -> bool:
        """Whether its files are there and its record says it was made as it is planned now."""
        place, image_format = self.plan.place, self.plan.record.settings["image_format"]
        if packed := packed_sample(place, self.index):
            return packed.record.fingerprint == self.plan.record.fingerprint
        return (
            is_made(self.record_path, self.plan.record.fingerprint)
            and place.image_path(self.index, image_format).is_file()
            and place.heatmap_path(self.index).is_file()
        )


def split_counts(
    entries: Sequence[Entry], per_class: int, per_entry: int | None = None
) -> dict[str, int]:
    """How many images each entry (by id) makes: `per_entry`, or its part of the class's number.

    A class's number is split evenly; what is left over goes to the first entries by id.
    """
    if per_entry is not None:
        return {entry.id: per_entry for entry in entries}
    counts: dict[str, int] = {}
    for category in {entry.category for entry in entries}:
        ids = sorted(entry.id for entry in entries if entry.category == category)
        share, left_over = divmod(per_class, len(ids))
        counts |= {name: share + (rank < left_over) for rank, name in enumerate(ids)}
    return counts


def list_samples(plans: Sequence[EntryPlan]) -> list[Sample]:
    """Every sample of every plan, entry by entry."""
    return [plan.sample(index) for plan in plans for index in range(plan.count)]


def blocks_of(samples: Iterable[Sample], size: int) -> list[list[Sample]]:
    """Consecutive samples of one entry, cut where an index is a multiple of `size`.

    Samples that are drawn together are of one block, whoever draws them: what stands beside a
    sample in its batch may change its last bits.
    """
    blocks = itertools.groupby(samples, key=lambda s: (id(s.plan), s.index // size))
    return [list(block) for _, block in blocks]


def check_settings(plans: Iterable[EntryPlan]) -> None:
    """Raise InputError naming every entry that has samples made with other settings."""
    problems = []
    for plan in plans:
        old = EntryRecord.read_or_none(plan.place.entry_json)
        if old is None or old.fingerprint == plan.record.fingerprint:
            continue
        if not sample_indices(plan.place):
            continue
        problems.append(
            f"{plan.place.folder}: its samples were made with other settings "
            f"({describe_changes(old.settings, plan.record.settings)}); give these again, or "
            "--overwrite to replace the samples"
        )
    if problems:
        raise InputError(problems)


def prepare_folders(
    plans: Sequence[EntryPlan], mine: Sequence[Sample], overwrite: bool, whole: bool
) -> None:
    """Write every entry's record; with `overwrite` first remove the samples of `mine` on disk.

    With `overwrite` all that is packed goes too: each process has its part in the tar files. With
    `whole`, the process speaks for the whole run, and removes what lies beyond the asked count too.
    Several processes may do this at once: all write the same entry records, and each removes its
    own samples only. The record comes before they go: it tells the next run, should this one be
    stopped, which ones are outdated.
    """
    for plan in plans:
        place = plan.place
        if overwrite:
            remove_shards(place)
        if overwrite and whole:
            for index in {*place.indices(), *place.failed_indices()}:
                if index >= plan.count:
                    discard_sample(place, index)
        if (plan.count or place.entry_json.exists()) and not _is_recorded(plan):
            place.make()
            plan.record.write(place.entry_json)
    for sample in mine if overwrite else ():
        discard_sample(sample.plan.place, sample.index)


def _is_recorded(plan: EntryPlan) -> bool:
    try:
        return EntryRecord.read_or_none(plan.place.entry_json) == plan.record
    except InputError:  # a broken record is written anew
        return False


def new_record(sample: Sample, image_format: str) -> SampleRecord:
    """The record of a sample that has just been made."""
    return SampleRecord(
        index=sample.index,
        seed=sample.seed,
        status="synthesized",
        image_format=image_format,
        fingerprint=sample.plan.record.fingerprint,
    )


def plan_synthesis(
    bank: PromptBank, chosen: ModelChoice, config: SynthesisConfig, precision: str
) -> list[EntryPlan]:
    """What each entry of the bank is to be made of and with. Reads files, loads no model.

    Raises one InputError that names every embedding entry that has not been learned.
    """
    identity = model_identity(chosen)
    counts = split_counts(bank.entries, config.image_per_class, config.image_per_entry)
    plans: list[EntryPlan] = []
    problems: list[str] = []
    for entry in bank.entries:
        try:
            plans.append(_plan_entry(bank, entry, counts[entry.id], config, identity, precision))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return plans


def _plan_entry(
    bank: PromptBank,
    entry: Entry,
    count: int,
    config: SynthesisConfig,
    identity: str,
    precision: str,
) -> EntryPlan:
    settings: dict[str, Any] = {
        "diffusion_model": identity,
        "num_inference_steps": config.num_inference_steps,
        "guidance_scale": config.guidance_scale,
        "size": list(config.side),
        "seed": config.seed,
        "precision": precision,
        "image_format": config.image_format,
    }
    if config.scheduler != "default":  # absent in data sets from before there was a choice
        settings["scheduler"] = config.scheduler
    if config.guidance_interval:
        settings["guidance_interval"] = list(config.guidance_interval)
    if config.heatmap != "method":  # absent where it is the published one
        settings["heatmap"] = config.heatmap
        with suppress(InputError):  # without pairs heatmaps are the published ones
            support_dir = bank.root / entry.support_dir
            settings["support"] = support_fingerprint(support_dir, entry.mask_class)
    own = entry.negative_prompt
    if negative_prompt := config.negative_prompt if own is None else own:
        settings["negative_prompt"] = negative_prompt
    embedding, adaptation, tokens = None, None, []
    if isinstance(entry, EmbeddingEntry):
        embedding = embedding_file(bank.root, entry)
        if not embedding.is_file():
            raise InputError(_not_learned(bank, entry))
        if (outdated := embedding.with_name(OUTDATED)).exists():
            raise InputError(
                f"{embedding}: is to be learned again, and step 1 has not done it yet: repeat it, "
                f"or remove {outdated} to use the earlier one"
            )
        tokens = placeholder_tokens(count_vectors(embedding))
        settings["embedding"] = file_fingerprint(embedding)
        if adaptation := find_adaptation(embedding, identity):
            settings["adaptation"] = adaptation_fingerprint(adaptation)
    made_of = fingerprint([entry.id, settings])
    if config.preset is not None:  # told, but it is what it stands for that decides pixels
        settings["preset"] = config.preset
    record = EntryRecord(
        entry_id=entry.id,
        type=entry.type,
        category=entry.category,
        prompt=entry.prompt(tokens),
        support_dir=entry.support_dir,
        model=identity,
        settings=settings,
        fingerprint=made_of,
    )
    return EntryPlan(EntryFolder(bank.root, entry), record, count, embedding, adaptation)


def find_adaptation(embedding: Path, model: str) -> Path | None:
    """The file of what was tuned of the denoiser with an embedding, by its record; None: nothing.

    Raises InputError when it is not there, or belongs to another model than `model`.
    """
    record = read_record(embedding.parent)
    if record is None or record.adaptation is None:
        return None
    path = embedding.with_name(record.adaptation)
    if not path.is_file():
        raise InputError(f"{path}: is not there, and the embedding beside it was learned with it")
    if (own := record.settings.get("diffusion_model")) != model:
        raise InputError(f"{path}: was tuned from {own}, and the diffusion model is now {model}")
    return path


def _not_learned(bank: PromptBank, entry: EmbeddingEntry) -> str:
    """What to say of an entry without an embedding: learn it, or choose one of a sweep."""
    swept = sorted(path.name for path in embedding_dir(bank.root, entry).glob("bg_lambda_*"))
    first = f"{entry.id}: no learned embedding in {embedding_dir(bank.root, entry)}"
    if swept:
        return (
            f"{first}, but a sweep ({', '.join(swept)}): choose one of its values, "
            "python -m scripts.image_mask_inversion --bg_lambda VALUE"
        )
    return f"{first}: run python -m scripts.image_mask_inversion --dataset_dir {bank.root} first"

"""Learned embeddings on disk: their records, when they are up to date, and how one is adopted.

A folder holds `learned_embeds.safetensors` (written last), `inversion.json` and `loss.png`. An
embedding is up to date when its record carries the fingerprint of the settings asked for now, and
no `outdated.json` says that it is to be learned again. Until it is, it stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.errors import AlignDiffError, InputError, is_out_of_memory
from aligndiff.core.files import atomic_path, fingerprint, read_json, write_json
from aligndiff.dataset.entries import PLACEHOLDER, EmbeddingEntry
from aligndiff.dataset.layout import (
    ADAPTATIONS,
    EMBEDDING,
    FAILURE,
    INVERSION_RECORD,
    LEARNED,
    LOSS_PLOT,
    OUTDATED,
    embedding_dir,
)
from aligndiff.dataset.records import FailureRecord, describe_changes, read_record
from aligndiff.dataset.square_view import square_view
from aligndiff.dataset.support import SupportPair, all_square, support_fingerprint
from aligndiff.inversion.config import METHOD
from aligndiff.inversion.templates import SETS, TrainingTexts, training_texts

SAMPLES = "samples"
CHOICE, CHOICE_TABLE = "choice.json", "choice.md"  # why the embedding was taken from a sweep
_CROP = "crop"  # in the settings, where photos are cut to a square
_NEW = ".new"  # where what replaces an embedding is put together
_WANTED = "wanted"  # in `outdated.json`: the fingerprint of what is to be learned instead


@dataclass(frozen=True)
class InversionJob:
    """One embedding to have: an object of the prompt bank, learned with `settings` into `folder`.

    `support_dir` holds the pairs it learns from; `siblings` are the object's other embedding
    folders, where the same embedding may already lie.
    """

    entry: EmbeddingEntry
    support_dir: Path
    folder: Path
    siblings: tuple[Path, ...]
    settings: dict[str, Any]

    @property
    def embedding(self) -> Path:
        """The embedding's file."""
        return self.folder / EMBEDDING

    @property
    def adaptation(self) -> Path | None:
        """The file of what is tuned of the denoiser; None where only the embedding learns."""
        name = ADAPTATIONS.get(self.settings.get("adapt", ""))
        return None if name is None else self.folder / name

    @property
    def failure(self) -> Path:
        """Why it could not be learned, or nothing drawn with it; only as long as that is so."""
        return self.folder / FAILURE

    @property
    def bg_lambda(self) -> float:
        """The background weight that this embedding is learned with."""
        return float(self.settings["bg_lambda"])

    @property
    def templates(self) -> Sequence[str]:
        """The prompts to train under, `{}` in the object's place."""
        templates: Sequence[str] = self.settings.get("templates", SETS["photo"])
        return templates

    @property
    def texts(self) -> TrainingTexts:
        """The prompts to train under."""
        vectors = int(self.settings["vectors"])
        return training_texts(self.entry.category, vectors, self.templates)

    def view(self, pair: SupportPair) -> SupportPair:
        """What is learned from a pair: of one that is not square, a part or a squeezed whole."""
        return square_view(pair) if self.settings.get(_CROP) else pair

    @property
    def is_learned(self) -> bool:
        """Whether the embedding is there, learned with just these settings, and not outdated."""
        return not self.is_outdated and _holds(self.folder, fingerprint(self.settings))

    @property
    def is_outdated(self) -> bool:
        """Whether what is there is to be learned again with these settings, by `mark_outdated`."""
        try:
            marker = read_json(self.folder / OUTDATED)
        except InputError:  # there is none, as a rule
            return False
        return isinstance(marker, dict) and marker.get(_WANTED) == fingerprint(self.settings)

    def outputs(self) -> list[Path]:
        """What learning writes, and one file of the samples drawn from it."""
        names = [EMBEDDING, INVERSION_RECORD, LOSS_PLOT, FAILURE, f"{SAMPLES}/sample_0.png"]
        names += [] if self.adaptation is None else [self.adaptation.name]
        return [self.folder / name for name in names]

    def adoptable(self) -> Path | None:
        """Another folder of the object that holds this very embedding, where it is to be copied.

        None when there is none, or when this job is learned, or to be learned again.
        """
        digest = fingerprint(self.settings)
        if self.is_outdated or _holds(self.folder, digest):
            return None
        good = (folder for folder in self.siblings if not (folder / OUTDATED).exists())
        return next((folder for folder in good if _holds(folder, digest)), None)


def plan_jobs(
    root: Path,
    entry: EmbeddingEntry,
    recipe: dict[str, Any],
    bg_lambdas: Sequence[float],
    squeeze: bool = False,
) -> list[InversionJob]:
    """The embeddings to have of one object of the dataset in `root`: one job for each `bg_lambda`.

    `recipe` is what decides the vectors besides `bg_lambda`, the prompt and the support pairs. A
    single value is learned into the object's own folder, where step 2 looks; several into a folder
    each below it. `squeeze` makes a difference only where a photo is not square.
    """
    own = embedding_dir(root, entry)
    support_dir = root / entry.path
    support = support_fingerprint(support_dir, entry.mask_class)
    known: dict[str, Any] = {"prompt": entry.prompt([PLACEHOLDER]), "support": support}
    if not squeeze and not all_square(support_dir, entry.mask_class):
        known[_CROP] = True
    jobs = []
    for value in map(float, bg_lambdas):
        folder = own if len(bg_lambdas) == 1 else embedding_dir(root, entry, value)
        siblings = tuple(sorted({own, *own.glob("bg_lambda_*")} - {folder}))
        settings = {**recipe, **known, "bg_lambda": value}
        jobs.append(InversionJob(entry, support_dir, folder, siblings, settings))
    return jobs


def mark_outdated(job: InversionJob) -> None:
    """Let what lies in the job's folder be learned again, with whatever settings it was learned.

    It stays, with a file beside it that says so, until the new embedding takes its place: a run
    that fails or is stopped before costs nothing, and the next one knows what is left to do.
    """
    if job.embedding.exists():
        note = "until step 1 has learned it again, the earlier embedding; to keep it, remove this"
        marker = {_WANTED: fingerprint(job.settings), "note": note}
        write_json(job.folder / OUTDATED, marker)


def make_folder(job: InversionJob) -> None:
    """Make the embedding's folder, below that of the support pairs, which must be there."""
    folders = [job.folder]
    while folders[0].name != LEARNED:
        folders.insert(0, folders[0].parent)
    for folder in folders:  # none above: if that is gone, so is the dataset
        folder.mkdir(exist_ok=True)


@contextmanager
def noting_failures(failed: dict[Path, str], job: InversionJob, no_memory: str) -> Iterator[None]:
    """What fails within stops this job alone: the reason is written down and joins `failed`.

    `no_memory` is what is said where memory ran out; other errors come through.
    """
    try:
        yield
        return
    except AlignDiffError as error:
        reason = "; ".join(error.problems)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = no_memory
    make_folder(job)
    FailureRecord(1, reason).write(job.failure)
    failed[job.folder] = f"{reason}; noted in {job.failure}"


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder for an embedding, its record and its plot, which then take their place.

    Until then nothing of `folder` is touched, nor when an exception comes through. What else went
    with the earlier embedding goes; sweep folders stay.
    """
    new = folder / _NEW
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        # The embedding last: it tells that there is one. After a kill in between the mark is still
        # there, or no embedding yet.
        shutil.rmtree(folder / SAMPLES, ignore_errors=True)
        with_it = (CHOICE, CHOICE_TABLE, SAMPLES, *ADAPTATIONS.values())
        for name in (*with_it, INVERSION_RECORD, LOSS_PLOT, EMBEDDING):
            if (new / name).exists():
                os.replace(new / name, folder / name)
            else:  # the earlier embedding's
                (folder / name).unlink(missing_ok=True)
        clear_markers(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def clear_markers(folder: Path) -> None:
    """Remove what is only there as long as an embedding is not as it should be."""
    for name in (FAILURE, OUTDATED):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / _NEW, ignore_errors=True)


def check_jobs(jobs: Sequence[InversionJob]) -> None:
    """Raise one InputError that names every embedding learned with other settings than asked."""
    problems = [problem for job in jobs if (problem := _conflict(job))]
    if problems:
        raise InputError(problems)


def final_loss(job: InversionJob) -> float | None:
    """Mean loss over the last tenth of the steps, or None when nothing is learned."""
    record = read_record(job.folder) if job.is_learned else None
    if record is None or not record.loss:
        return None
    last = record.loss[-max(1, len(record.loss) // 10) :]
    return sum(last) / len(last)


def copy_embedding(source: Path, target: Path) -> None:
    """Copy an embedding with all that goes with it, in the place of what is there."""
    target.mkdir(exist_ok=True)
    samples = sorted(f"{SAMPLES}/{path.name}" for path in (source / SAMPLES).glob("sample*"))
    with replacing(target) as new:
        for name in (*ADAPTATIONS.values(), INVERSION_RECORD, LOSS_PLOT, EMBEDDING, *samples):
            if (source / name).exists():
                with atomic_path(new / name) as beside:
                    shutil.copyfile(source / name, beside)


def _holds(folder: Path, digest: str) -> bool:
    if not (folder / EMBEDDING).exists():
        return False
    try:
        record = read_record(folder)
    except InputError:
        return False
    if record is None or record.fingerprint != digest:
        return False
    return record.adaptation is None or (folder / record.adaptation).exists()


def _conflict(job: InversionJob) -> str | None:
    if not job.embedding.exists() or job.is_learned or job.is_outdated:
        return None
    try:
        record = read_record(job.folder)
    except InputError as error:
        return f"{error}; --overwrite learns it again"
    if record is None:
        reason = f"there is no {INVERSION_RECORD} to tell how it was learned"
    else:
        changes = describe_changes({**METHOD, **record.settings}, {**METHOD, **job.settings})
        reason = changes or f"there is no {record.adaptation} beside it"
    return f"{job.embedding}: {reason}; --overwrite learns it again"

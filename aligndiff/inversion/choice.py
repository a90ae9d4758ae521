"""The choice among the values of a sweep: what was judged, which one is taken, and why.

Beside each embedding of a sweep lies `judged.json`; where step 2 looks for the object's embedding,
a copy of the best one, `choice.json` and the same as a table, `choice.md`. The choice follows from
the files alone, so that it is the same whoever judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import atomic_path, file_fingerprint, fingerprint, read_json, write_json
from aligndiff.core.options import Options, option
from aligndiff.dataset.layout import EMBEDDING
from aligndiff.dataset.records import read_record
from aligndiff.dataset.support import load_support
from aligndiff.diffusion.adapters import adaptation_fingerprint
from aligndiff.inversion.config import USUAL, SheetConfig
from aligndiff.inversion.judge import Judgement, draw_to_judge, teach_judge
from aligndiff.inversion.plan import (
    CHOICE,
    CHOICE_TABLE,
    InversionJob,
    copy_embedding,
    noting_failures,
)
from aligndiff.segmenters.load import SegmenterChoice

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from aligndiff.segmenters.base import Segmenter

JUDGED = "judged.json"
AS_GOOD = 0.02  # part of a score: so few samples tell no smaller difference
NO_MEMORY = "out of memory while drawing what is judged: try a smaller --side"


@dataclass(frozen=True)
class ChoiceConfig(Options):
    """Whether the best of several embeddings is taken, and how many samples tell which that is."""

    choose: bool = option(
        False, "take the best of the values of --bg_lambda, as --bg_lambda auto does"
    )
    choose_samples: int = option(16, "images drawn with each embedding to judge it", 2, 1024)


@dataclass(frozen=True)
class ChoicePlan:
    """How embeddings are judged.

    Attributes:
        samples: images drawn with each.
        sheet: how they are drawn.
        segmenter: which one judges with the support pairs.
        heatmap_threshold: object where a heatmap / 255 is above this.
    """

    samples: int
    sheet: SheetConfig
    segmenter: SegmenterChoice
    heatmap_threshold: float

    @cached_property  # it reads the weights
    def segmenter_identity(self) -> str:
        """What the records say of the segmenter."""
        return self.segmenter.identity

    def judged_from(self, job: InversionJob) -> dict[str, Any]:
        """All that decides the judgement of a learned embedding."""
        drawn = ("num_inference_steps", "guidance_scale", "scheduler")
        settings = {name: getattr(self.sheet, name) for name in drawn}
        if job.adaptation is not None:
            settings["adaptation"] = adaptation_fingerprint(job.adaptation)
        return {
            **settings,
            "embedding": file_fingerprint(job.embedding),
            "samples": self.samples,
            "segmenter": self.segmenter_identity,
            "heatmap_threshold": self.heatmap_threshold,
        }

    def judgement(self, job: InversionJob) -> Judgement | None:
        """What was said of an embedding as it is now; None if nothing was yet."""
        path = job.folder / JUDGED
        if not (job.is_learned and path.exists()):
            return None
        written = read_json(path)
        try:
            if written["judged_from"] != self.judged_from(job):
                return None
            return Judgement(**written["judgement"])
        except (KeyError, TypeError):
            raise InputError(f"{path}: is no judgement; remove it") from None

    def are_judged(self, jobs: Sequence[InversionJob]) -> bool:
        """Whether something was said of all of them."""
        return all(self.judgement(job) is not None for job in jobs)


@dataclass(frozen=True)
class ChosenEmbedding:
    """The best embedding of an object, and what is to be said of all of them."""

    job: InversionJob
    judged: tuple[tuple[InversionJob, Judgement], ...]

    @property
    def own(self) -> Path:
        """The folder where step 2 looks for the object's embedding."""
        return self.job.folder.parent

    @property
    def table(self) -> Path:
        """The judgements of all of them, to be read."""
        return self.own / CHOICE_TABLE

    @property
    def why(self) -> str:
        """One line: "bg_lambda 0.3 chosen for fish: score 0.0751 = agreement ...; 0.6: 0.0602"."""
        scores = {job.bg_lambda: judgement.score for job, judgement in self.judged}
        own = next(judgement for job, judgement in self.judged if job is self.job)
        others = ", ".join(
            f"{value:g}: {score:.4f}"
            for value, score in scores.items()
            if value != self.job.bg_lambda
        )
        highest = own.score == max(scores.values())
        reason = "" if highest else f", as good as the highest and nearest to {USUAL:g}"
        return (
            f"bg_lambda {self.job.bg_lambda:g} chosen for {self.job.entry.category}{reason}: score "
            f"{own.score:.4f} = agreement {own.agreement:.3f} x likeness {own.likeness:.3f} x "
            f"spread {own.spread:.3f}; {others}"
        )


def best_of(jobs: Sequence[InversionJob], plan: ChoicePlan) -> ChosenEmbedding | None:
    """The job whose value `pick` takes; None until all are judged."""
    judged = [(job, plan.judgement(job)) for job in jobs]
    known = [(job, judgement) for job, judgement in judged if judgement is not None]
    if len(known) < len(jobs):
        return None
    value = pick({job.bg_lambda: judgement.score for job, judgement in known})
    job = next(job for job in jobs if job.bg_lambda == value)
    return ChosenEmbedding(job, tuple(known))


def pick(scores: Mapping[float, float]) -> float:
    """Of the values of `bg_lambda` whose score is as good as the highest, the one nearest to usual.

    Where the values make no difference, chance is not to choose.
    """
    least = (1 - AS_GOOD) * max(scores.values())
    return min(
        (value for value, score in scores.items() if score >= least),
        key=lambda value: abs(value - USUAL),
    )


def judge_missing(
    pipe: DiffusionPipeline, jobs: Sequence[InversionJob], segmenter: Segmenter, plan: ChoicePlan
) -> dict[Path, str]:
    """Judge an object's learned embeddings that are not judged; why one failed, by its folder."""
    waiting = [job for job in jobs if job.is_learned and plan.judgement(job) is None]
    failed: dict[Path, str] = {}
    judge = None
    for job in waiting:
        with noting_failures(failed, job, NO_MEMORY):
            samples = draw_to_judge(pipe, job, plan.sheet, plan.samples)
            if judge is None:
                side = max(samples[0].image.shape[:2])
                support = load_support(job.support_dir, job.entry.mask_class, side)
                judge = teach_judge(segmenter, support, plan.heatmap_threshold)
            record = {"judged_from": plan.judged_from(job), "judgement": asdict(judge(samples))}
            write_json(job.folder / JUDGED, record)
    return failed


def take(choice: ChosenEmbedding, plan: ChoicePlan) -> None:
    """Copy the best embedding to where step 2 looks, and write down why; nothing if that is so."""
    if is_taken(choice, plan):
        return
    copy_embedding(choice.job.folder, choice.own)
    with atomic_path(choice.table) as path:
        path.write_text(_table(choice, plan), encoding="utf-8")
    write_json(choice.own / CHOICE, _record(choice, plan))


def is_taken(choice: ChosenEmbedding, plan: ChoicePlan) -> bool:
    """Whether the object's own embedding is the best one, and it says why."""
    written = _reads(choice.own / CHOICE)
    return _lies_in(choice.own, choice.job) and written == _record(choice, plan)


def check_room(objects: Iterable[Sequence[InversionJob]]) -> None:
    """Raise one InputError for all embeddings that would have to go, and are not of the sweep."""
    problems = []
    for jobs in objects:
        own = jobs[0].folder.parent
        if (own / EMBEDDING).exists() and not any(_lies_in(own, job) for job in jobs):
            problems.append(
                f"{own / EMBEDDING}: is of none of the values that are chosen from; --overwrite "
                "puts the chosen one in its place"
            )
    if problems:
        raise InputError(problems)


def _lies_in(folder: Path, job: InversionJob) -> bool:
    """Whether a folder holds the very embedding that the job learns."""
    try:
        record = read_record(folder) if (folder / EMBEDDING).exists() else None
    except InputError:
        return False
    return record is not None and record.fingerprint == fingerprint(job.settings)


def _reads(path: Path) -> object:
    try:
        return read_json(path)
    except InputError:
        return None


def _record(choice: ChosenEmbedding, plan: ChoicePlan) -> dict[str, Any]:
    return {
        "bg_lambda": choice.job.bg_lambda,
        "why": choice.why,
        "samples": plan.samples,
        "segmenter": plan.segmenter_identity,
        "judged": [
            {"bg_lambda": job.bg_lambda, **asdict(judgement), "score": judgement.score}
            for job, judgement in choice.judged
        ],
    }


def _table(choice: ChosenEmbedding, plan: ChoicePlan) -> str:
    rows = [
        f"| {job.bg_lambda:g}{' (chosen)' if job is choice.job else ''} | {given.agreement:.3f} | "
        f"{given.likeness:.3f} | {given.spread:.3f} | {given.score:.4f} |"
        for job, given in choice.judged
    ]
    head = "| bg_lambda | agreement | likeness | spread | score |", "|---|---|---|---|---|"
    samples = f"{plan.samples} samples of each embedding, judged with {plan.segmenter_identity}."
    return "\n".join([f"{choice.why}.", "", samples, "", *head, *rows, ""])

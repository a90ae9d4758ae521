"""Step 3: few-shot conditioned refinement, Algorithm 1 of the paper.

A segmenter that knows the support pairs segments every synthetic image. Where it agrees with the
heatmap its mask is kept and the pair becomes trusted. The trusted pairs join the support, and the
other images are segmented again.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.console import Advance
from aligndiff.core.errors import InputError
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.records import SampleRecord
from aligndiff.dataset.support import SupportPair
from aligndiff.masks.company import Judge
from aligndiff.masks.edges.base import EdgeRefiner
from aligndiff.masks.rules import MOST_LEFT_OUT, MaskRules, learn_rules
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.files import (
    Query,
    queries_of,
    support_of,
    write_failure,
    write_mask_and_record,
    write_rejection,
)
from aligndiff.refinement.likeness import LikenessRule
from aligndiff.refinement.plan import RefinementPlan
from aligndiff.refinement.trust import learn_trust
from aligndiff.refinement.verdicts import JudgedMap, Verdict, first_verdict, second_verdict
from aligndiff.segmenters.base import support_weights
from aligndiff.segmenters.leave_one_out import maps_of_support

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Encoded, Segmenter, SupportItem

logger = logging.getLogger(__name__)

Uint8 = NDArray[np.uint8]
T = TypeVar("T")

BLACK_LEVEL = 8  # grey level of 255; JPEG does not keep a black image at exactly 0
NO_MEMORY = "out of memory with this image alone"
NO_NUMBERS = "the segmenter gave NaN (try --precision float32)"
PASSES = 2  # how often an image is segmented at most: what the progress bar counts


def refine(
    segmenter: Segmenter,
    support: Sequence[SupportPair],
    queries: Sequence[Query],
    config: RefinementConfig,
    feature_memory: int,
    edges: Sequence[EdgeRefiner] = (),
    usual_iou: float | None = None,
    judge: Judge | None = None,
) -> Iterator[Verdict]:
    """Algorithm 1: `support` and the trusted queries are D_good of the paper.

    Yields a verdict after every pass, an uncertain query's second one later. Without any trusted
    query the second pass knows the support alone. Of the uncertain queries so many stay encoded as
    fit in `feature_memory` bytes; the others are encoded again, the same to rounding. `edges` are
    the settings that the support pairs choose from, see `edge_settings`. `usual_iou` is the
    heatmaps' with the support masks, where they were made from these: then a score decides what is
    trusted, if the config says so. `judge` is asked which of several regions are the object.
    """
    real: list[SupportItem] = []
    first_encoded: list[Encoded] = []  # a few, to learn from what the segmenter makes of them
    by_score = config.agreement == "score" and usual_iou is not None
    most = MOST_LEFT_OUT if edges or by_score else 0
    alike = LikenessRule(segmenter, config.min_likeness)
    for pairs in _batches(support, config.batch_size):
        images = segmenter.encode([pair.image for pair in pairs])
        real += map(segmenter.describe, images, [pair.mask for pair in pairs])
        first_encoded += images[: max(0, most - len(first_encoded))]
        alike.see(pairs, images)
    alike.learn()
    known = maps_of_support(segmenter, support, first_encoded, real)
    rules = learn_rules(support, known, config, edges, config.pseudo_label_threshold, judge)
    trust = learn_trust(known, rules, usual_iou) if by_score and usual_iou is not None else None
    segmenter.set_support(real)

    trusted: list[SupportItem] = []
    uncertain: list[_Uncertain] = []
    for query, encoded, verdict in _first_pass(segmenter, queries, config, rules, trust, alike):
        if encoded is not None and verdict.mask is not None:
            trusted.append(segmenter.describe(encoded, verdict.labels))
        elif encoded is not None and verdict.outcome == "uncertain":
            keep = encoded.nbytes <= feature_memory
            feature_memory -= encoded.nbytes if keep else 0
            uncertain.append(_Uncertain(query, encoded if keep else None, verdict.iou))
        yield verdict

    if trusted and uncertain:
        weights = support_weights(len(real), len(trusted), config.support_weight)
        segmenter.set_support([*real, *trusted], weights)
    yield from _second_pass(segmenter, uncertain, config, rules, alike)


def refine_entry(
    plan: RefinementPlan,
    segmenter: Segmenter,
    config: RefinementConfig,
    feature_memory: int,
    advance: Advance,
    edges: Sequence[EdgeRefiner] = (),
    judge: Judge | None = None,
) -> int:
    """Refine one entry and write its masks and records; returns how many samples failed.

    `clear_masks(plan)` comes first. Each sample's mask is written before its record. `advance` is
    moved on by two for each sample. A sample whose files cannot be read, or that is too much for
    the memory, is reported with its reason and stays unrefined.
    """
    config = replace(config, heatmap_threshold=plan.settings["heatmap_threshold"])
    samples = {sample.index: sample for sample in plan.samples}
    uncertain: set[int] = set()
    counts: Counter[str] = Counter()

    def last_verdicts() -> Iterator[Verdict]:
        support, queries = support_of(plan), queries_of(plan)
        usual_iou = plan.settings.get("support_iou")
        for verdict in refine(
            segmenter, support, queries, config, feature_memory, edges, usual_iou, judge
        ):
            passes = 1 if verdict.outcome == "uncertain" or verdict.index in uncertain else PASSES
            if verdict.outcome == "uncertain":
                uncertain.add(verdict.index)
            else:
                counts[verdict.outcome] += 1
                yield verdict
            advance(passes, plan.entry.category, status=_status(counts))

    def keep(verdict: Verdict) -> None:
        _keep(plan, samples[verdict.index], verdict)

    for _ in prefetch_map(keep, last_verdicts(), config.batch_size):
        pass
    return counts["failed"]


@dataclass(frozen=True)
class _QueryFiles:
    """The files of a query: uint8 (h, w, 3) and (h, w)."""

    image: Uint8
    heatmap: Uint8


@dataclass(frozen=True)
class _Uncertain:
    """A query after its first pass; `encoded` is None where it was not kept for the second."""

    query: Query
    encoded: Encoded | None
    iou: float | None


def _first_pass(
    segmenter: Segmenter,
    queries: Sequence[Query],
    config: RefinementConfig,
    rules: MaskRules,
    trust: float | None,
    alike: LikenessRule,
) -> Iterator[tuple[Query, Encoded | None, Verdict]]:
    """A verdict on every query, with what was encoded of those that could be read."""
    loaded = zip(queries, prefetch_map(_load, queries, config.batch_size), strict=True)
    for batch in _batches(loaded, config.batch_size):
        yield from ((query, None, files) for query, files in batch if isinstance(files, Verdict))
        readable = [(query, files) for query, files in batch if isinstance(files, _QueryFiles)]
        encoded = _encode(segmenter, [files.image for _, files in readable])
        for (query, files), image in zip(readable, encoded, strict=True):
            probability = _segment(segmenter, image)
            if isinstance(probability, str) or image is None:
                yield query, None, Verdict(query.index, "failed", reason=str(probability))
            else:
                judged = _judged(rules, files, probability)
                verdict = first_verdict(query.index, judged, config, trust)
                yield query, image, alike(verdict, files.image, image)


def _judged(rules: MaskRules, files: _QueryFiles, probability: NDArray[np.float32]) -> JudgedMap:
    alone, undecided = rules(files.image, probability)
    return JudgedMap(alone, files.heatmap, undecided)


def _encode(segmenter: Segmenter, images: Sequence[Uint8]) -> list[Encoded | None]:
    """What the segmenter sees in each image; None where one alone is too much for the memory."""
    from aligndiff.core.device import try_or_oom

    together = try_or_oom(partial(segmenter.encode, images))
    if together is not None:
        return [*together]
    alone = [try_or_oom(partial(segmenter.encode, [image])) for image in images]
    return [None if encoded is None else encoded[0] for encoded in alone]


def _segment(segmenter: Segmenter, encoded: Encoded | None) -> NDArray[np.float32] | str:
    """The probability of the object, or why there is none.

    NaN is above no threshold: it would pass for an image without an object.
    """
    from aligndiff.core.device import try_or_oom

    if encoded is None:
        return NO_MEMORY
    probability = try_or_oom(partial(segmenter.segment, encoded))
    if probability is None:
        return NO_MEMORY
    return NO_NUMBERS if np.isnan(probability).any() else probability


def _load(query: Query) -> _QueryFiles | Verdict:
    try:
        image, heatmap = query.read_image(), query.read_heatmap()
        _check_sizes(image, heatmap)
    except InputError as error:
        return _failure(query, error)
    if image.max() <= BLACK_LEVEL:
        return Verdict(query.index, "rejected", reason="the image is black")
    return _QueryFiles(image, heatmap)


def _second_pass(
    segmenter: Segmenter,
    uncertain: Sequence[_Uncertain],
    config: RefinementConfig,
    rules: MaskRules,
    alike: LikenessRule,
) -> Iterator[Verdict]:
    loaded = prefetch_map(_load, [item.query for item in uncertain], config.batch_size)
    for batch in _batches(zip(uncertain, loaded, strict=True), config.batch_size):
        gone = [
            files.image
            for item, files in batch
            if item.encoded is None and isinstance(files, _QueryFiles)
        ]
        again = iter(_encode(segmenter, gone))
        for item, files in batch:
            if isinstance(files, Verdict):
                yield files
                continue
            encoded = next(again) if item.encoded is None else item.encoded
            probability = _segment(segmenter, encoded)
            if isinstance(probability, str) or encoded is None:
                yield Verdict(item.query.index, "failed", reason=str(probability))
                continue
            judged = _judged(rules, files, probability)
            verdict = second_verdict(item.query.index, judged, item.iou, config)
            yield alike(verdict, files.image, encoded)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items each, the last one maybe shorter; taken as they are needed."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _check_sizes(image: Uint8, heatmap: Uint8) -> None:
    if image.shape[:2] != heatmap.shape:
        raise InputError(f"the image is {image.shape[:2]}, its heatmap {heatmap.shape} (h, w)")


def _failure(query: Query, error: InputError) -> Verdict:
    return Verdict(query.index, "failed", reason="; ".join(error.problems))


def _keep(plan: RefinementPlan, sample: SampleRecord, verdict: Verdict) -> None:
    """Write what the last verdict on a sample says; a failure is told as well."""
    if verdict.outcome == "failed":
        noted = write_failure(plan, sample, verdict.reason or "")
        logger.warning(
            "failed: %s image %d: %s; noted in %s; to generate it again, remove %s, repeat step 2",
            plan.entry.id,
            sample.index,
            verdict.reason,
            noted,
            plan.place.record_path(sample.index),
        )
    elif verdict.outcome == "rejected":
        write_rejection(plan, sample, verdict)
    elif verdict.mask is not None:
        write_mask_and_record(plan, sample, verdict)


def _status(counts: Counter[str]) -> str:
    """ "12 consensus, 3 pseudo-label" for the progress bar."""
    parts = (f"{count} {outcome.replace('_', '-')}" for outcome, count in sorted(counts.items()))
    return ", ".join(parts) or "first pass"

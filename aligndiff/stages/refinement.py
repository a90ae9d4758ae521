"""Step 3: few-shot conditioned refinement, Algorithm 1 of the paper.

A segmenter that knows the support pairs looks at every synthetic image. Where it agrees with the
heatmap its mask is kept and the pair becomes trusted. The trusted pairs join the support, and the
other images are segmented again.
"""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from aligndiff.data.records import SampleRecord
from aligndiff.data.refinement_files import (
    Query,
    queries_of,
    support_of,
    write_mask_and_record,
    write_rejection,
)
from aligndiff.data.refinement_plan import RefinementConfig, RefinementPlan
from aligndiff.data.support import SupportPair
from aligndiff.ground.console import Advance, warn
from aligndiff.ground.errors import InputError

# The script imports this file, and `--help` must not wait for torch.
if TYPE_CHECKING:
    from aligndiff.models.segmenter import Segmenter

Uint8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]
T = TypeVar("T")

BLACK_LEVEL = 8  # grey level of 255; JPEG does not keep a black image at exactly 0
LOOKS = 2  # how often an image is segmented at most: what the progress bar counts
OUTCOME_WORDS = {
    "consensus": "agreed",
    "pseudo_label": "guessed",
    "rejected": "rejected",
    "failed": "failed",
}


@dataclass(frozen=True)
class Verdict:
    """What one look at a query came to. Only agreed and guessed ones have a mask, bool (h, w).

    "uncertain" means that another look follows; every other verdict is the query's last one.
    """

    index: int
    outcome: Literal["consensus", "pseudo_label", "rejected", "failed", "uncertain"]
    mask: Bool | None = None
    iou: float | None = None  # of the first look's mask with the heatmap, in [0, 1]
    reason: str | None = None  # of a rejection or a failure


def intersection_over_union(first: Bool, second: Bool) -> float:
    """IoU of two masks, bool (h, w), in [0, 1]. Two empty masks give 0: that is no agreement."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def first_verdict(
    index: int, probability: NDArray[np.float32], heatmap: Uint8, config: RefinementConfig
) -> Verdict:
    """Algorithm 1, first look: does the segmenter agree with the heatmap?

    `probability` is float32 (h, w) in [0, 1], `heatmap` uint8 (h, w).
    """
    mask = probability > config.foreground_threshold
    coarse = heatmap > config.heatmap_threshold * 255
    if not mask.any() and not coarse.any():
        return Verdict(index, "rejected", iou=0.0, reason="no object in either mask")
    iou = intersection_over_union(mask, coarse)
    if iou > config.consensus_iou_threshold:
        return Verdict(index, "consensus", mask, iou)
    return Verdict(index, "uncertain", iou=iou)


def second_verdict(
    index: int, probability: NDArray[np.float32], iou: float | None, config: RefinementConfig
) -> Verdict:
    """Algorithm 1, second look: a pseudo-label, unless the segmenter finds no object."""
    mask = probability > config.pseudo_label_threshold
    if not mask.any():
        return Verdict(index, "rejected", iou=iou, reason="no object in the second pass")
    return Verdict(index, "pseudo_label", mask, iou)


def refine(
    segmenter: Segmenter,
    support: Sequence[SupportPair],
    queries: Sequence[Query],
    config: RefinementConfig,
) -> Iterator[Verdict]:
    """Algorithm 1: `support` and the trusted queries are D_good of the paper.

    Yields a verdict after every look, an uncertain query's second one later. Without any trusted
    query the second pass knows the support alone. At most one batch of images is held at a time.
    """
    trusted: list[_Trusted] = []
    uncertain: list[tuple[Query, float | None]] = []
    segmenter.set_support(support)
    for query, verdict in _first_pass(segmenter, queries, config):
        if verdict.mask is not None:
            trusted.append(_Trusted.of(query, verdict.mask))
        elif verdict.outcome == "uncertain":
            uncertain.append((query, verdict.iou))
        yield verdict

    if trusted and uncertain:
        pairs = itertools.chain(support, (known.pair() for known in trusted))
        segmenter.set_support(pairs, prototype_weights(len(support), len(trusted), config))
    yield from _second_pass(segmenter, uncertain, config)


def prototype_weights(support: int, trusted: int, config: RefinementConfig) -> list[float]:
    """One weight per pair, support first: a few real pairs are not drowned by many trusted ones."""
    real = [config.support_weight / support] * support
    return real + [(1 - config.support_weight) / trusted] * trusted


def refine_entry(
    plan: RefinementPlan, segmenter: Segmenter, config: RefinementConfig, advance: Advance
) -> int:
    """Refine one entry and write its masks and records; returns how many samples failed.

    `begin(plan)` comes first. Each sample's mask is written before its record. `advance` is moved
    on by two for each sample. A sample whose files cannot be read is reported, stays unrefined.
    """
    samples = {sample.index: sample for sample in plan.samples}
    uncertain: set[int] = set()
    counts: Counter[str] = Counter()
    for verdict in refine(segmenter, support_of(plan), queries_of(plan), config):
        looks = 1 if verdict.outcome == "uncertain" or verdict.index in uncertain else LOOKS
        if verdict.outcome == "uncertain":
            uncertain.add(verdict.index)
        else:
            _keep(plan, samples[verdict.index], verdict)
            counts[OUTCOME_WORDS[verdict.outcome]] += 1
        advance(looks, status=_status(plan, counts))
    return counts[OUTCOME_WORDS["failed"]]


@dataclass(frozen=True)
class _Trusted:
    """A query with its agreed mask, packed: thousands of masks take a few megabytes."""

    query: Query
    shape: tuple[int, int]
    packed: bytes

    @classmethod
    def of(cls, query: Query, mask: Bool) -> _Trusted:
        height, width = mask.shape
        return cls(query, (height, width), zlib.compress(np.packbits(mask).tobytes()))

    def pair(self) -> SupportPair:
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        mask = np.unpackbits(bits, count=self.shape[0] * self.shape[1]).reshape(self.shape)
        return SupportPair(f"trusted {self.query.index}", self.query.read_image(), mask)


def _first_pass(
    segmenter: Segmenter, queries: Sequence[Query], config: RefinementConfig
) -> Iterator[tuple[Query, Verdict]]:
    for batch in _batches(queries, config.batch_size):
        seen: list[tuple[Query, Uint8, Uint8]] = []
        for query in batch:
            try:
                image, heatmap = query.read_image(), query.read_heatmap()
                _check_sizes(image, heatmap)
            except InputError as error:
                yield query, _failure(query, error)
                continue
            if image.max() <= BLACK_LEVEL:
                yield query, Verdict(query.index, "rejected", reason="the image is black")
            else:
                seen.append((query, image, heatmap))
        answers = segmenter.predict([image for _, image, _ in seen]) if seen else []
        for (query, _, heatmap), probability in zip(seen, answers, strict=True):
            yield query, first_verdict(query.index, probability, heatmap, config)


def _second_pass(
    segmenter: Segmenter, uncertain: Sequence[tuple[Query, float | None]], config: RefinementConfig
) -> Iterator[Verdict]:
    for batch in _batches(uncertain, config.batch_size):
        seen: list[tuple[int, float | None, Uint8]] = []
        for query, iou in batch:
            try:
                seen.append((query.index, iou, query.read_image()))
            except InputError as error:
                yield _failure(query, error)
        answers = segmenter.predict([image for _, _, image in seen]) if seen else []
        for (index, iou, _), probability in zip(seen, answers, strict=True):
            yield second_verdict(index, probability, iou, config)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _check_sizes(image: Uint8, heatmap: Uint8) -> None:
    if image.shape[:2] != heatmap.shape:
        raise InputError(f"the image is {image.shape[:2]}, its heatmap {heatmap.shape} (h, w)")


def _failure(query: Query, error: InputError) -> Verdict:
    return Verdict(query.index, "failed", reason="; ".join(error.problems))


def _keep(plan: RefinementPlan, sample: SampleRecord, verdict: Verdict) -> None:
    """Write what the last verdict on a sample says; a failure is told, and leaves no trace."""
    if verdict.outcome == "failed":
        warn(
            f"failed: {plan.entry.id} image {sample.index}: {verdict.reason}; to draw it again, "
            f"remove {plan.place.record_path(sample.index)} and repeat step 2"
        )
    elif verdict.outcome == "rejected":
        write_rejection(plan, sample, verdict.reason or "", verdict.iou)
    elif verdict.mask is not None and verdict.outcome != "uncertain":
        write_mask_and_record(plan, sample, verdict.mask, verdict.outcome, verdict.iou)


def _status(plan: RefinementPlan, counts: Counter[str]) -> str:
    """ "fish: 12 agreed, 3 guessed" for the end of the progress bar."""
    words = (f"{counts[word]} {word}" for word in OUTCOME_WORDS.values() if counts[word])
    return f"{plan.entry.category}: {', '.join(words) or 'first pass'}"

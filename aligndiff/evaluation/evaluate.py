"""Evaluation: masks against truth, and a few-shot segmenter on the episodes of a benchmark."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.console import Advance
from aligndiff.core.errors import InputError
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.images import OBJECT
from aligndiff.dataset.masks import read_mask
from aligndiff.dataset.support import SupportPair
from aligndiff.evaluation.episodes import Episode, FewShotTest, load_item
from aligndiff.evaluation.final_masks import OWN_MASKS, FinalMasks
from aligndiff.evaluation.mask_pairs import MaskPair
from aligndiff.segmenters.metrics import Scores, overlaps

# The script imports this file, and `--help` must not wait for torch.
if TYPE_CHECKING:
    from aligndiff.segmenters.base import Segmenter

ANSWERS_SHOWN = 8  # on a sheet
_READERS = 2  # threads that read and resize images


@dataclass(frozen=True)
class ScoredImage:
    """One image's own IoU, which no score is the mean of, and what it was segmented by."""

    category: str
    name: str
    iou: float
    support: tuple[str, ...] = ()


@dataclass
class Evaluated:
    """Running sums over images, and the images one by one."""

    scores: Scores = field(default_factory=Scores)
    images: list[ScoredImage] = field(default_factory=list)

    def add(
        self,
        category: str,
        name: str,
        predicted: NDArray[np.bool_],
        truth: NDArray[np.uint8],
        support: tuple[str, ...] = (),
    ) -> None:
        """Count one image: bool (h, w) against uint8 (h, w) of 0, 1 and 255 (ignore)."""
        self.scores.add(category, predicted, truth)
        iou = overlaps(predicted, truth)[1].iou
        self.images.append(ScoredImage(category, name, iou, support))


def evaluate_masks(pairs: Sequence[MaskPair], advance: Advance) -> Evaluated:
    """Predicted masks against true ones. InputError holds the problems of all files.

    Where a predicted mask says "ignore" it claims no object.
    """
    done, problems = Evaluated(), list[str]()
    for pair, masks in zip(pairs, prefetch_map(_read_pair, pairs, 16, _READERS), strict=True):
        if isinstance(masks, InputError):
            problems += masks.problems
        else:
            done.add(pair.category, pair.name, *masks)
        advance()
    if problems:
        raise InputError(problems)
    return done


@dataclass(frozen=True)
class Answer:
    """What a segmenter says to an episode: `predicted` is bool (h, w), like the query's mask."""

    episode: Episode
    query: SupportPair
    support: tuple[SupportPair, ...]
    predicted: NDArray[np.bool_]


def answer_episodes(
    segmenter: Segmenter,
    test: FewShotTest,
    episodes: Sequence[Episode],
    side: int,
    batch_size: int,
    masks: FinalMasks = OWN_MASKS,
) -> Iterator[Answer]:
    """Segment the query of every episode by its support, in order.

    `side`: see `load_item`. `masks` says what becomes of the maps. `batch_size` is the number of
    images read and encoded at once, which changes nothing but rounding. InputError when a file
    cannot be read.
    """

    def load(episode: Episode) -> list[SupportPair]:
        return [load_item(test, item, side) for item in (episode.query, *episode.support)]

    loaded = zip(episodes, prefetch_map(load, episodes, batch_size, _READERS), strict=True)
    shot = len(episodes[0].support) if episodes else 0
    while batch := list(itertools.islice(loaded, max(1, batch_size // (1 + shot)))):
        encoded = iter(segmenter.encode([pair.image for _, pairs in batch for pair in pairs]))
        for episode, (query, *support) in batch:
            seen = next(encoded)
            known = [next(encoded) for _ in support]
            described = [
                segmenter.describe(*pair)
                for pair in zip(known, (pair.mask for pair in support), strict=True)
            ]
            rules = masks.learn(segmenter, support, known, described)
            segmenter.set_support(described)
            predicted = rules.mask(query.image, segmenter.segment(seen))
            yield Answer(episode, query, tuple(support), predicted)


def evaluate_episodes(
    segmenter: Segmenter,
    test: FewShotTest,
    episodes: Sequence[Episode],
    side: int,
    batch_size: int,
    advance: Advance,
    masks: FinalMasks = OWN_MASKS,
) -> tuple[Evaluated, list[Answer]]:
    """Score the answers to all episodes, see `answer_episodes`; the first few are kept to show."""
    done, shown = Evaluated(), list[Answer]()
    for answer in answer_episodes(segmenter, test, episodes, side, batch_size, masks):
        support = tuple(pair.name for pair in answer.support)
        query = answer.query
        done.add(answer.episode.category, query.name, answer.predicted, query.mask, support)
        if len(shown) < ANSWERS_SHOWN:
            shown.append(answer)
        advance(status=f"mIoU {done.scores.miou:.3f}")
    return done, shown


def _read_pair(pair: MaskPair) -> tuple[NDArray[np.bool_], NDArray[np.uint8]] | InputError:
    try:
        predicted, truth = read_mask(pair.predicted) == OBJECT, read_mask(pair.truth)
    except InputError as error:
        return error
    if predicted.shape != truth.shape:
        (h, w), (true_h, true_w) = predicted.shape, truth.shape
        return InputError(
            f"{pair.predicted}: is {w} x {h} px, its truth {pair.truth} {true_w} x {true_h}; "
            "both must have the image's size"
        )
    return predicted, truth

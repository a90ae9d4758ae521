"""Episodes: a class, a few support pairs, one query; what a few-shot segmenter learns by.

An episode depends on (seed, step, slot) alone: not on what was drawn before, nor on the number of
processes. So a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT, Uint8, resize_image, resize_mask
from aligndiff.training.composing import QueryComposer
from aligndiff.training.pairs import ClassPairs, Pair

REMEMBERED = 256  # pairs kept decoded: 360 MB of 600 px
TRIES = 10  # random views of a pair before its whole view is taken
_GREY = np.array((124, 116, 104), np.uint8)  # ImageNet's mean: zero once it is normalised


@dataclass(frozen=True)
class TrainingEpisode:
    """Support pairs and, last, the query.

    Attributes:
        images: uint8 RGB (shot + 1, h, w, 3).
        masks: uint8 (shot + 1, h', w') of 0, 1, 255 (ignore), at any resolution.
    """

    images: Uint8
    masks: Uint8


class EpisodeSource(Protocol):
    """Where episodes come from. All have the same shapes; several threads may ask at once."""

    def episode(self, step: int, slot: int) -> TrainingEpisode:
        """The episode of this place in this step's batch: always the same one."""


class PairEpisodes:
    """Episodes drawn from pairs on disk, each view of a pair flipped, scaled and cropped anew."""

    def __init__(
        self,
        classes: Sequence[ClassPairs],
        shot: int,
        side: int,
        real_fraction: float,
        scale_jitter: float,
        seed: int,
        composer: QueryComposer | None = None,
    ) -> None:
        """`side` is that of the square views in pixels; see `random_view` for `scale_jitter`.

        With `composer` the queries are what it makes of their pairs.
        """
        self.composer = composer
        self.classes, self.shot, self.side = tuple(classes), shot, side
        self.real_fraction, self.scale_jitter, self.seed = real_fraction, scale_jitter, seed
        self._read = lru_cache(maxsize=REMEMBERED)(self._read_reduced)

    def episode(self, step: int, slot: int) -> TrainingEpisode:
        """See `EpisodeSource`: every class is equally likely, no pair is there twice."""
        rng = np.random.default_rng((self.seed, step, slot))
        chosen = self.classes[rng.integers(len(self.classes))]
        pairs = draw_pairs(chosen, self.shot + 1, self.real_fraction, rng)
        read = [self._read(pair) for pair in pairs]
        views = [random_view(*pair, self.side, self.scale_jitter, rng) for pair in read]
        if self.composer is not None:
            composed = self.composer.query(chosen.category, *read[-1], rng)
            views[-1] = views[-1] if composed is None else composed
        images, masks = zip(*views, strict=True)
        return TrainingEpisode(np.stack(images), np.stack(masks))

    def _read_reduced(self, pair: Pair) -> tuple[Uint8, Uint8]:
        """A pair no larger than its largest view: photos may have a hundred times the pixels."""
        image, mask = pair.read()
        scale = self.side * self.scale_jitter / max(mask.shape)
        return (image, mask) if scale >= 1 else _scaled(image, mask, scale)


def draw_pairs(
    chosen: ClassPairs, count: int, real_fraction: float, rng: np.random.Generator
) -> list[Pair]:
    """`count` different pairs, each real with the probability `real_fraction`; the last is a query.

    When one kind is used up the other one serves. A negative is never drawn as support.
    """
    negatives = [pair for pair in chosen.synthetic if pair.is_negative]
    kinds = [pair for pair in chosen.synthetic if not pair.is_negative], list(chosen.real)
    drawn = []
    for place in range(count):
        if place == count - 1:
            kinds[0].extend(negatives)
        kind = kinds[rng.random() < real_fraction] or kinds[0] or kinds[1]
        drawn.append(kind.pop(rng.integers(len(kind))))
    return drawn


def random_view(
    image: Uint8, mask: Uint8, side: int, scale_jitter: float, rng: np.random.Generator
) -> tuple[Uint8, Uint8]:
    """A square view of `side` px, flipped, scaled and moved; image and mask by the same draws.

    The longer side becomes `side` times a factor from 1 / scale_jitter to scale_jitter. What is
    beside the image is grey and ignored. A view without object, where the image has one, or
    without background is drawn again; after ten of them the whole image, unscaled, is the view.
    """
    shows = (mask == OBJECT).any()
    for attempt in range(TRIES + 1):
        reach = math.log(scale_jitter) if attempt < TRIES else 0.0
        scale = side / max(mask.shape) * math.exp(rng.uniform(-reach, reach))
        seen, marked = _scaled(image, mask, scale)
        if rng.random() < 0.5:
            seen, marked = seen[:, ::-1], marked[:, ::-1]
        top, left = (_offset(length, side, rng) for length in marked.shape)
        marked = _window(marked, top, left, np.full((side, side), IGNORE, np.uint8))
        if (marked == OBJECT).any() >= shows and (marked == BACKGROUND).any():
            break
    return _window(seen, top, left, np.tile(_GREY, (side, side, 1))), marked


def _scaled(image: Uint8, mask: Uint8, scale: float) -> tuple[Uint8, Uint8]:
    h, w = (max(1, round(length * scale)) for length in mask.shape)
    return resize_image(image, (h, w)), resize_mask(mask, (h, w))


def _offset(length: int, side: int, rng: np.random.Generator) -> int:
    """Where a window begins: within what is longer, before what is shorter."""
    low, high = sorted((0, length - side))
    return int(rng.integers(low, high + 1))


def _window(array: Uint8, top: int, left: int, canvas: Uint8) -> Uint8:
    """`canvas` with what it shows of `array` when its corner lies at (top, left) of it."""
    h, w = canvas.shape[:2]
    seen = array[max(top, 0) : top + h, max(left, 0) : left + w]
    y, x = max(-top, 0), max(-left, 0)
    canvas[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
    return canvas

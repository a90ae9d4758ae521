"""From proposals to the texts of a category: filtered, then chosen for spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aligndiff.prompts.candidate import Candidate
from aligndiff.prompts.filters import REPEATED, Filter
from aligndiff.prompts.meaning import Embedder
from aligndiff.prompts.spread import farthest_points


@dataclass(frozen=True)
class ChosenTexts:
    """The texts chosen for a category.

    Attributes:
        chosen: the new texts, those that add most first.
        left_out: how many were not taken, by reason.
        spare: how many more would have been fit.
    """

    chosen: list[Candidate]
    left_out: Counter[str]
    spare: int


def choose_texts(
    proposed: Iterable[Candidate],
    present: Sequence[Candidate],
    count: int,
    checks: Filter,
    embedder: Embedder,
) -> ChosenTexts:
    """Up to `count` proposals that pass the checks, far from each other and from `present`."""
    fit = checks.keep(proposed)
    reasons = Counter(item.reason for item in checks.dropped)
    if not fit or not count:
        return ChosenTexts([], reasons, len(fit))
    vectors = embedder.embed([candidate.text for candidate in fit])
    taken = embedder.embed([candidate.text for candidate in present])
    least = 1 - embedder.same
    rows = farthest_points(vectors, taken, count, least)
    others = np.setdiff1d(np.arange(len(fit)), rows)
    near = np.concatenate([taken, vectors[rows]])
    alike = int(((vectors[others] @ near.T).max(axis=1, initial=-1) > embedder.same).sum())
    reasons[REPEATED] += alike
    return ChosenTexts([fit[row] for row in rows], +reasons, len(others) - alike)

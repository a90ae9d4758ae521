"""Texts far apart: the farthest point first, and how far each is from its nearest."""

from __future__ import annotations

import numpy as np

from aligndiff.prompts.meaning import Vectors


def farthest_points(vectors: Vectors, taken: Vectors, count: int, least: float) -> list[int]:
    """Up to `count` rows of `vectors`, each the one farthest from `taken` and those before it.

    Gonzalez's greedy k-centre choice; the distance is 1 - cosine, so it lies in [0, 2]. Without
    `taken`, the first is the one nearest to the mean. Ends where none is `least` away: what is left
    says the same as what was chosen. Of equal distances the first row wins.
    """
    if not len(vectors) or count < 1:
        return []
    chosen: list[int] = []
    if len(taken):
        nearest = 1 - (vectors @ taken.T).max(axis=1)
    else:
        chosen.append(int(np.argmax(vectors @ vectors.mean(axis=0))))
        nearest = 1 - vectors @ vectors[chosen[0]]
    while len(chosen) < count:
        row = int(np.argmax(nearest))
        if nearest[row] < least:
            break
        chosen.append(row)
        nearest = np.minimum(nearest, 1 - vectors @ vectors[row])
    return chosen


def mean_nearest_distance(vectors: Vectors) -> float:
    """The mean over the texts of 1 - cosine to the most alike other one; NaN for fewer than two."""
    if len(vectors) < 2:
        return float("nan")
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -1)
    return float((1 - likeness.max(axis=1)).mean())

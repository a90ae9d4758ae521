from __future__ import annotations

import numpy as np

from aligndiff.render.canvas import PALETTE
from aligndiff.render.plot import Band, count_plot

COUNTS = [0, 1, 10, 100]
BLUE, ORANGE = PALETTE[:2]


def rows_of(plot: np.ndarray, colour: tuple[int, int, int], column: int) -> np.ndarray:
    return np.flatnonzero((plot[60:, column] == colour).all(axis=1)) + 60


def test_a_curve_rises_within_its_band_and_another_is_drawn_beside() -> None:
    curves = {
        "mean": Band([0.2, 0.3, 0.4, 0.5], [0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6]),
        "fish": Band([0.9] * 4),
    }
    plot = count_plot(COUNTS, curves, "IoU", "samples")
    assert plot.shape == (380, 680, 3) and plot.dtype == np.uint8
    left, right = rows_of(plot, BLUE, 80).mean(), rows_of(plot, BLUE, 640).mean()
    assert left > right > rows_of(plot, ORANGE, 640).mean()
    pale = np.round(255 - (255 - np.array(BLUE)) * 0.18)
    shaded = np.flatnonzero((np.abs(plot[:, 640] - pale) <= 1).all(axis=1))
    assert shaded.min() < right < shaded.max()
    assert len(shaded) > 40


def test_counts_lie_apart_by_their_logarithm() -> None:
    plot = count_plot(COUNTS, {"IoU": Band([0.1] * 4)}, "IoU", "samples")
    ticks = np.flatnonzero((plot[330, 60:] != 255).any(axis=1))
    gaps = np.diff(ticks)
    assert len(ticks) == 4 and gaps.tolist() == [88, 215, 281]


def test_tiny_differences_look_tiny() -> None:
    plot = count_plot([0, 5], {"IoU": Band([0.900, 0.901])}, "IoU", "samples")
    left, right = (rows_of(plot, BLUE, column).mean() for column in (80, 640))
    assert abs(left - right) < 8

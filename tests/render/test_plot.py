from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from aligndiff.dataset.images import Uint8
from aligndiff.render.canvas import PALETTE
from aligndiff.render.plot import Curve, curve_plot, loss_plot

COUNTS = [0, 1, 10, 100]
BLUE, ORANGE = PALETTE[:2]
BEGIN, END = slice(70, 150), slice(560, 640)  # columns


def height_of(plot: Uint8, colour: tuple[int, int, int], columns: slice) -> float:
    """How far from the top a curve is, in px; the legend does not count."""
    off = np.abs(plot[70:, columns].astype(int) - colour).max(axis=2)
    rows = np.flatnonzero((off <= 2).any(axis=1))
    assert len(rows)
    return float(rows.mean()) + 70


def test_a_loss_plot_falls_with_the_loss() -> None:
    plot = loss_plot({"loss": [1 - i / 100 for i in range(100)], "low": [0.1] * 100})
    assert (plot.shape, plot.dtype) == ((380, 680, 3), np.uint8)
    assert height_of(plot, BLUE, BEGIN) < height_of(plot, BLUE, END) - 100
    assert height_of(plot, ORANGE, BEGIN) > height_of(plot, BLUE, BEGIN)
    assert height_of(plot, ORANGE, BEGIN) == pytest.approx(height_of(plot, ORANGE, END), abs=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "curve", [[], [0.5], [0.0, 0.0], [float("nan")], [1.0, float("inf"), 2.0], [-3.0, 1e9], [1e-9]]
)
def test_odd_curves_are_drawn_too(curve: list[float]) -> None:
    assert loss_plot({"loss": curve}).shape == (380, 680, 3)
    assert loss_plot({"_a $b_c of a very long name that goes on and on": curve}).ndim == 3
    assert loss_plot({"": curve}, "", (192, 192)).shape == (192, 192, 3)
    assert loss_plot({}).shape == (380, 680, 3)


def test_a_wild_step_does_not_press_the_curve_flat() -> None:
    calm = [1 - i / 1000 for i in range(1000)]
    wild = loss_plot({"loss": [1e6, *calm[1:]]})
    assert height_of(wild, BLUE, slice(300, 400)) < height_of(wild, BLUE, END) - 80


def test_a_curve_rises_within_its_band_and_another_is_drawn_beside() -> None:
    curves = {
        "mean": Curve(COUNTS, [0.2, 0.3, 0.4, 0.5], [0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6]),
        "fish": Curve(COUNTS, [0.9] * 4),
    }
    plot = curve_plot(curves, "IoU", "samples", log_counts=True)
    assert plot.shape == (380, 680, 3) and plot.dtype == np.uint8
    left, right = height_of(plot, BLUE, BEGIN), height_of(plot, BLUE, END)
    assert left > right > height_of(plot, ORANGE, END)
    pale = np.round(255 - (255 - np.array(BLUE)) * 0.18)
    shaded = np.flatnonzero((np.abs(plot[:, 600] - pale) <= 1).all(axis=1))
    assert shaded.min() < right < shaded.max()
    assert len(shaded) > 40


def ticks(plot: Uint8) -> np.ndarray:
    """The columns of the marks below the axis."""
    axis = max(np.flatnonzero((plot[:, 100:600] < 200).all(axis=(1, 2))))
    return np.flatnonzero((plot[axis + 3, 50:] < 200).all(axis=1))  # right of the numbers


def test_counts_lie_apart_by_their_logarithm() -> None:
    plot = curve_plot({"IoU": Curve(COUNTS, [0.1] * 4)}, "IoU", "samples", log_counts=True)
    gaps = np.diff(ticks(plot))
    assert gaps / gaps.sum() == pytest.approx(np.diff(np.log1p(COUNTS)) / np.log(101), abs=0.01)


def test_numbers_that_would_touch_are_left_out() -> None:
    counts = [0, 1, 2, 98, 99, 100]
    plot = curve_plot({"IoU": Curve(counts, [0.5] * 6)}, "IoU", "samples")
    assert len(ticks(plot)) == 2


def test_tiny_differences_look_tiny() -> None:
    plot = curve_plot({"IoU": Curve([0, 5], [0.900, 0.901])}, "IoU", "samples")
    assert abs(height_of(plot, BLUE, BEGIN) - height_of(plot, BLUE, END)) < 8


def test_shares_reach_to_a_hundred_percent_and_may_be_missing() -> None:
    curves = {"only": Curve([0, 1], [1.0, 0.8]), "gap": Curve([0, 1], [float("nan")] * 2)}
    plot = curve_plot(curves, "title", "bg_lambda", percent=True)
    assert height_of(plot, BLUE, slice(80, 90)) < 100
    assert height_of(plot, BLUE, slice(640, 660)) > 300


CODE = """
import hashlib, sys
from aligndiff.render.plot import loss_plot
assert "matplotlib" not in sys.modules
plot = loss_plot({"a": [3, 2, 1, 2], "b": [1, 1]})
assert "matplotlib.pyplot" not in sys.modules
print(hashlib.sha256(plot.tobytes()).hexdigest())
"""


def test_the_same_pixels_in_any_process_and_whatever_the_user_has_set(tmp_path: Path) -> None:
    settings = "figure.facecolor: black\nlines.linestyle: --\nfont.size: 30\naxes.grid: True\n"
    (tmp_path / "matplotlibrc").write_text(settings + "axes.titlecolor: red\nfont.weight: bold\n")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path.cwd())!r}){CODE}"]
    plain, other = (
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        for folder in (Path.cwd(), tmp_path)  # a matplotlibrc in the working folder counts
    )
    assert plain == other != ""


def test_threads_draw_the_same_pixels() -> None:
    curves = [{"loss": list(np.linspace(end, 0, 50))} for end in range(1, 9)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(loss_plot, curves))
    for plot, curve in zip(together, curves, strict=True):
        assert (plot == loss_plot(curve)).all()

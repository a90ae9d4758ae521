"""Line plots: a training run, or a score over a number of samples, at a glance.

The same values give the same pixels in any thread or process, whatever style a user has set: no
pyplot, and the font that matplotlib ships.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8
from aligndiff.render.canvas import GREY, INK, PALE, PALETTE, Colour, shortened

if TYPE_CHECKING:  # imported where a plot is drawn: most commands draw none
    from matplotlib.axes import Axes

Float = NDArray[np.float64]

SIZE = (380, 680)  # (height, width) of a plot in px
_DPI = 100
_TITLE, _NUMBER = 18, 13  # font sizes in px
_LEGEND_COLUMNS, _LEGEND_NAME = 3, 150  # px of a name
_SMOOTHING = 0.04  # the smoothed line's window (standard deviation), as a part of the run
_RAW_STRENGTH = 0.25  # of the raw curve behind the smoothed one
_BAND_STRENGTH = 0.18  # of the colour between a curve's bounds
_WILD = 0.995  # quantile of the losses above which they are cut off
_LEAST_SPAN = 0.05  # of the values of a curve plot: chance must not look like a trend
_LEAST_FALL = 0.01  # of a probe's loss: less must not look like learning
_LEAST_GAP = 0.05  # between two numbers below the plot, as a part of its width


def _rgb(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _points(px: float) -> float:
    """matplotlib counts text and gaps in points, 72 an inch."""
    return px * 72 / _DPI


# The colours and sizes of the sheets, over matplotlib's defaults.
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": _points(_NUMBER),
    "text.parse_math": False,  # a "$" in a name is no mathematics
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.14,  # inches
    "figure.constrained_layout.h_pad": 0.1,
    "axes.titlesize": _points(_TITLE),
    "axes.titlelocation": "left",
    "axes.titlecolor": _rgb(INK),
    "axes.labelcolor": _rgb(GREY),
    "axes.labelsize": _points(_NUMBER),
    "axes.edgecolor": _rgb(GREY),
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": _rgb(PALE),
    "xaxis.labellocation": "right",
    "xtick.color": _rgb(GREY),
    "xtick.labelsize": _points(_NUMBER),
    "ytick.labelcolor": _rgb(GREY),
    "ytick.labelsize": _points(_NUMBER),
    "ytick.major.size": 0,
    "ytick.major.pad": 6,
    "legend.labelcolor": _rgb(INK),
    "legend.fontsize": _points(_NUMBER),
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "lines.linewidth": 2,
    "lines.markersize": 5,
}
_STYLE_LOCK = Lock()  # matplotlib's style is of the whole process


@contextmanager
def _our_style() -> Iterator[None]:
    """While open, figures are made and drawn in our style; the user's comes back afterwards."""
    import matplotlib.style

    with _STYLE_LOCK, matplotlib.style.context(["default", _STYLE]):
        yield


@dataclass(frozen=True)
class Curve:
    """Values over x, a missing one NaN; unless empty, `low` and `high` bound a band around it."""

    x: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@_our_style()
def loss_plot(
    curves: Mapping[str, Sequence[float]], title: str = "loss", size: tuple[int, int] = SIZE
) -> Uint8:
    """Draw named curves over their steps: raw values pale, a smoothed line over them.

    Values that are not finite are left out. Returns uint8 RGB (h, w, 3) of `size`.
    """
    axes, lines = _empty_axes(size), {}
    series = {name: np.asarray(values, dtype=np.float64) for name, values in curves.items()}
    finite = np.concatenate([np.empty(0), *(v[np.isfinite(v)] for v in series.values())])
    # A few wild first steps must not press the rest of the curve flat.
    high = float(np.quantile(finite, _WILD)) if finite.size else 1.0
    _scale_values(axes, float(finite.min(initial=0)), high)
    for (name, values), colour in zip(series.items(), cycle(PALETTE), strict=False):
        steps, known = np.flatnonzero(np.isfinite(values)) + 1, values[np.isfinite(values)]
        look: Any = {"color": _rgb(colour), "marker": "o" if len(known) == 1 else None}
        axes.plot(steps, known, alpha=_RAW_STRENGTH, linewidth=0.8, **look)
        (lines[name],) = axes.plot(steps, _smoothed(known), **look)
    return _finished_steps(axes, lines, title, max([1, *map(len, series.values())]))


@_our_style()
def probe_plot(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    title: str = "loss of fixed views and noise",
    size: tuple[int, int] = SIZE,
) -> Uint8:
    """Draw named curves of losses that compare from step to step: (step, value) as they are.

    At least one point; values are finite. Returns uint8 RGB (h, w, 3) of `size`.
    """
    axes, lines = _empty_axes(size), {}
    values = [value for points in curves.values() for _, value in points]
    low, high = min(values), max(values)
    spare = max(_LEAST_FALL * abs(high) - (high - low), 0) / 2
    _scale_values(axes, low - spare, high + spare)
    for (name, points), colour in zip(curves.items(), cycle(PALETTE), strict=False):
        steps, losses = zip(*points, strict=True)
        (lines[name],) = axes.plot(steps, losses, "o-", color=_rgb(colour), markersize=3)
    last = max(step for points in curves.values() for step, _ in points)
    return _finished_steps(axes, lines, title, max(1, last))


@_our_style()
def curve_plot(
    curves: Mapping[str, Curve],
    title: str,
    x_name: str,
    *,
    log_counts: bool = False,
    percent: bool = False,
) -> Uint8:
    """Draw named curves with dots at their values, and the bands around them.

    With `log_counts`, x are counts that lie apart by the logarithm of count + 1: what the first few
    change shows beside what hundreds do. With `percent`, values are shares in [0, 1], and the plot
    reaches to 100 %. Returns uint8 RGB (380, 680, 3).
    """
    axes, lines = _empty_axes(SIZE), {}
    ends = [end for c in curves.values() for end in (*c.values, *c.low, *c.high)]
    ends += [0.8, 1.0] if percent else []
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    spare = max(_LEAST_SPAN - (high - low), 0) / 2
    _scale_values(axes, low - spare, high + spare)
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    place = np.log1p if log_counts else np.asarray
    _scale_x(axes, {x: float(place(x)) for curve in curves.values() for x in curve.x})
    for (name, curve), colour in zip(curves.items(), cycle(PALETTE), strict=False):
        x = place(curve.x)
        look: Any = {"color": _rgb(colour)}
        if len(curve.low):
            axes.fill_between(x, curve.low, curve.high, alpha=_BAND_STRENGTH, lw=0, **look)
        # Dots on the frame are drawn whole.
        (lines[name],) = axes.plot(x, curve.values, "o-", clip_on=False, **look)
    return _finished(axes, lines, title, x_name)


def _empty_axes(size: tuple[int, int]) -> Axes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((size[1] / _DPI, size[0] / _DPI), _DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value + 0.0:.4g}")  # never "-0"
    return axes


def _scale_values(axes: Axes, low: float, high: float) -> None:
    """Let the value axis end at round numbers that enclose low..high."""
    from matplotlib.ticker import MaxNLocator

    high = high if high > low else low + max(abs(low), 1.0)
    most = max(2, round(axes.figure.bbox.height / 76))
    ticks = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    axes.set_yticks(ticks)
    axes.set_ylim(ticks[0], ticks[-1])


def _scale_x(axes: Axes, places: Mapping[float, float]) -> None:
    """Mark the values at their places, from the greatest down, as far as there is room."""
    first, last = min(places.values()), max(places.values())
    width = last - first or 1.0
    marked: dict[float, str] = {}
    for value, place in sorted(places.items(), reverse=True):
        if not marked or min(marked) - place >= _LEAST_GAP * width:
            marked[place] = f"{value:g}"
    axes.set_xticks(list(marked), list(marked.values()))
    axes.set_xlim(first, first + width)


def _smoothed(values: Float) -> Float:
    """A Gaussian moving average that is fair at both ends."""
    if not len(values):
        return values
    width = max(1.0, _SMOOTHING * len(values))
    reach = int(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weights = np.convolve(np.ones(len(values)), kernel)[reach : reach + len(values)]
    sums = np.convolve(values, kernel)[reach : reach + len(values)]
    return np.asarray(sums / weights, dtype=np.float64)


def _finished_steps(axes: Axes, lines: Mapping[str, Any], title: str, steps: int) -> Uint8:
    """The pixels of a plot over steps, from 0."""
    axes.set_xlim(0, steps)
    width = axes.figure.bbox.width
    axes.locator_params(axis="x", nbins=max(2, int(width) // 110), integer=True)
    return _finished(axes, lines, title, "step")


def _finished(axes: Axes, lines: Mapping[str, Any], title: str, x_name: str) -> Uint8:
    """Name what is drawn, and return its pixels. A curve of the title's name needs no legend."""
    names = [name for name in lines if name not in ("", title)]
    legend = axes.legend(
        [lines[name] for name in names],
        [shortened(name, _NUMBER, _LEGEND_NAME) for name in names],
        loc="lower left",
        bbox_to_anchor=(0, 1.02),
        ncols=_LEGEND_COLUMNS,
    )
    legend.set_in_layout(False)  # long names must not narrow the axes
    rows = -(-len(names) // _LEGEND_COLUMNS)
    axes.set_title(title, pad=_points(12 + 22 * rows))
    axes.set_xlabel(x_name)
    canvas: Any = axes.figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()

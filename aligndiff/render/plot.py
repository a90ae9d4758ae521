"""Small line plots: a training run, or a score over a number of samples, at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8
from aligndiff.render.canvas import (
    GREY,
    INK,
    PALE,
    PALETTE,
    Colour,
    blank,
    paste_dot,
    paste_text,
    text_width,
)

Float = NDArray[np.float64]

_HEIGHT, _WIDTH = 380, 680  # px
_TOP, _RIGHT, _BOTTOM, _LEFT = 58, 28, 52, 68  # margins in px for title, numbers and legend
_TITLE, _NUMBER = 18, 13  # font sizes in px
_FRACTION_BITS = 4  # cv2 draws at 1/16 px, which makes smooth curves
_SMOOTHING = 0.04  # the smoothed line's window (standard deviation), as a part of the run
_RAW_STRENGTH = 0.25  # of the raw curve behind the smoothed one
_LEAST_SPAN = 0.05  # of the values of a count plot: chance must not look like a trend
_BAND_STRENGTH = 0.18  # of the colour between a curve's bounds


def loss_plot(curves: Mapping[str, Sequence[float]], title: str = "loss") -> Uint8:
    """Draw named curves over their steps: raw values pale, a smoothed line over them.

    Values that are not finite are left out. Returns uint8 RGB (380, 680, 3).
    """
    canvas = blank(_HEIGHT, _WIDTH)
    points = {name: _finite(values) for name, values in curves.items()}
    steps = max((len(values) for values in curves.values()), default=0)
    axes = _axes([values for _, values in points.values()], steps)
    _draw_axes(canvas, axes)
    colours = [colour for _, colour in zip(points, cycle(PALETTE), strict=False)]
    for (where, values), colour in zip(points.values(), colours, strict=True):
        pale = tuple(round(255 - (255 - c) * _RAW_STRENGTH) for c in colour)
        _draw_curve(canvas, axes, where, values, (pale[0], pale[1], pale[2]), 1)
    for (where, values), colour in zip(points.values(), colours, strict=True):
        _draw_curve(canvas, axes, where, _smoothed(values), colour, 2)
    _draw_heading(canvas, title, dict(zip(points, colours, strict=True)))
    return canvas


@dataclass(frozen=True)
class Band:
    """Values of a curve and, unless they are empty, their lower and upper bounds."""

    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def count_plot(
    counts: Sequence[int], curves: Mapping[str, Band], title: str, counted: str
) -> Uint8:
    """Draw named curves, with bands around them, over `counts` of what is `counted`.

    The counts ascend from 0 and lie apart by the logarithm of count + 1: what the first few
    change shows beside what hundreds do. Returns uint8 RGB (380, 680, 3).
    """
    canvas = blank(_HEIGHT, _WIDTH)
    where = np.log1p(np.asarray(counts, dtype=np.float64))
    ends = [end for one in curves.values() for end in (*one.values, *one.low, *one.high)]
    low, high = min(ends), max(ends)
    spare = max(_LEAST_SPAN - (high - low), 0) / 2
    ticks = _nice_ticks(low - spare, high + spare)
    axes = _Axes(list(where), ticks, max(float(where[-1]), 1.0), [str(n) for n in counts], counted)
    _draw_axes(canvas, axes)
    colours = dict(zip(curves, cycle(PALETTE), strict=False))
    for name, one in curves.items():
        _draw_band(canvas, axes, where, one, colours[name])
    for name, one in curves.items():
        values = np.asarray(one.values, dtype=np.float64)
        _draw_curve(canvas, axes, where, values, colours[name], 2)
        for at, value in zip(where, values, strict=True):
            paste_dot(canvas, axes.top(float(value)), axes.left(float(at)), 3, colours[name])
    _draw_heading(canvas, title, colours)
    return canvas


@dataclass(frozen=True)
class _Axes:
    """Where a step and a value lie on the canvas, in px from its upper left corner."""

    step_ticks: list[float]
    value_ticks: list[float]
    last_step: float
    step_words: list[str]  # one for each of step_ticks
    name: str  # of what the steps count

    def left(self, step: float) -> float:
        return _LEFT + step / self.last_step * (_WIDTH - _LEFT - _RIGHT)

    def top(self, value: float) -> float:
        low, high = self.value_ticks[0], self.value_ticks[-1]
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _finite(values: Sequence[float]) -> tuple[Float, Float]:
    """(steps counted from 1, values) of the finite values."""
    array = np.asarray(values, dtype=np.float64)
    keep = np.isfinite(array)
    steps = np.arange(1, len(array) + 1, dtype=np.float64)
    return steps[keep], array[keep]


def _axes(series: Sequence[Float], steps: int) -> _Axes:
    everything = np.concatenate([*series, np.empty(0)])
    if everything.size:
        # A few wild first steps must not press the rest of the curve flat.
        low = min(0.0, float(everything.min()))
        high = float(np.quantile(everything, 0.995))
    else:
        low, high = 0.0, 1.0
    last = float(max(steps, 1))
    inner = [tick for tick in _nice_ticks(0.0, last) if tick <= last]
    return _Axes(inner, _nice_ticks(low, high), last, [f"{tick:g}" for tick in inner], "step")


def _nice_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose low..high."""
    span = high - low if high > low else max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(span / 4))
    spacing = next(power * m for m in (1, 2, 2.5, 5, 10) if span / (power * m) <= 5)
    first, last = math.floor(low / spacing), math.ceil((low + span) / spacing)
    return [number * spacing for number in range(first, last + 1)]


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


def _draw_axes(canvas: Uint8, axes: _Axes) -> None:
    bottom = _HEIGHT - _BOTTOM
    for value in axes.value_ticks:
        row = round(axes.top(value))
        canvas[row, _LEFT : _WIDTH - _RIGHT] = PALE
        words = f"{value:.4g}"
        left = _LEFT - text_width(words, _NUMBER) - 8
        paste_text(canvas, words, row - _NUMBER + 4, left, _NUMBER, GREY)
    free = _WIDTH  # from here on the line of numbers is taken
    for step, words in reversed(list(zip(axes.step_ticks, axes.step_words, strict=True))):
        column, width = round(axes.left(step)), text_width(words, _NUMBER)
        canvas[bottom : bottom + 5, column] = GREY
        left = column - width // 2
        if left + width < free:
            paste_text(canvas, words, bottom + 6, left, _NUMBER, GREY)
            free = left - 4
    canvas[bottom, _LEFT : _WIDTH - _RIGHT] = GREY
    left = _WIDTH - _RIGHT - text_width(axes.name, _NUMBER)
    paste_text(canvas, axes.name, bottom + 26, left, _NUMBER, GREY)


def _draw_curve(
    canvas: Uint8, axes: _Axes, steps: Float, values: Float, colour: Colour, width: int
) -> None:
    """Draw a line through (steps, values), in place; a single value is a dot."""
    high = axes.value_ticks[-1]
    values = np.minimum(values, high)
    if len(values) == 1:
        paste_dot(canvas, axes.top(float(values[0])), axes.left(float(steps[0])), 2.5, colour)
    if len(values) < 2:
        return
    line = _points(axes, steps, values)
    cv2.polylines(canvas, [line], False, colour, width, cv2.LINE_AA, _FRACTION_BITS)


def _points(axes: _Axes, steps: Float, values: Float) -> NDArray[np.int32]:
    """(n, 1, 2) of (across, down), as cv2 wants them, in parts of a pixel."""
    points = [(axes.left(float(s)), axes.top(float(v))) for s, v in zip(steps, values, strict=True)]
    return np.round(np.asarray(points) * (1 << _FRACTION_BITS)).astype(np.int32)[:, None]


def _draw_band(canvas: Uint8, axes: _Axes, where: Float, band: Band, colour: Colour) -> None:
    """Shade what lies between the bounds, in place."""
    if not len(band.low):
        return
    low, high = (_points(axes, where, np.asarray(ends)) for ends in (band.low, band.high))
    area = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(area, [np.concatenate([low, high[::-1]])], 255, cv2.LINE_AA, _FRACTION_BITS)
    strength = area[..., None] / 255 * _BAND_STRENGTH
    canvas[:] = np.round(canvas * (1 - strength) + np.asarray(colour) * strength).astype(np.uint8)


def _draw_heading(canvas: Uint8, title: str, colours: Mapping[str, Colour]) -> None:
    """Title on the left, legend on the right; one curve of the title's name needs no legend."""
    paste_text(canvas, title, 16, _LEFT, _TITLE, INK)
    if list(colours) == [title]:
        return
    left = _WIDTH - _RIGHT
    for name, colour in reversed(list(colours.items())):
        left -= text_width(name, _NUMBER)
        paste_text(canvas, name, 20, left, _NUMBER, INK)
        canvas[27:30, left - 24 : left - 6] = colour
        left -= 44

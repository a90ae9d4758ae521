"""The measurement's plots: what synthetic pairs add, and what --bg_lambda changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

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
from scripts.tiny_world.measure.report import Findings

_HEIGHT, _WIDTH = 380, 560  # px of a plot
_TOP, _RIGHT, _BOTTOM, _LEFT = 84, 34, 58, 62  # px around its axes
_TITLE, _NUMBER = 18, 13  # font sizes in px
_BAND = 0.16  # strength of the spread's colour


@dataclass(frozen=True)
class Curve:
    """Percentages over x; a missing one is None. ``spread`` holds the least and greatest at x."""

    name: str
    x: Sequence[float]
    values: Sequence[float | None]
    spread: Sequence[tuple[float, float]] = ()


def findings_plot(findings: Findings) -> np.ndarray | None:
    """The plots of lines 5 and 6 side by side, of those that were measured; else None."""
    plots = []
    if findings.gain:
        plots.append(plot("line 5: mIoU on fresh scenes", "synthetic pairs", gain_curves(findings)))
    if findings.swept_looks:
        plots.append(plot("line 6: over --bg_lambda", "bg_lambda", sweep_curves(findings)))
    return np.concatenate(plots, axis=1) if plots else None


def gain_curves(findings: Findings) -> list[Curve]:
    """The greatest number of real pairs with more and more synthetic ones; fewer pairs alone."""
    real = max(point.real for point in findings.gain)
    points = sorted((p for p in findings.gain if p.real == real), key=lambda p: p.synthetic)
    spreads = [(100 * min(p.seed_mious), 100 * max(p.seed_mious)) for p in points]
    amounts, values = [p.synthetic for p in points], [100 * p.miou for p in points]
    curves = [Curve(f"{real} real pairs and these", amounts, values, spreads)]
    curves += [
        Curve(f"{p.real} real alone", [p.synthetic], [100 * p.miou])
        for p in findings.gain
        if p.real != real
    ]
    return curves


def sweep_curves(findings: Findings) -> list[Curve]:
    x = [float(figures.name) for figures in findings.swept_looks]
    looks, masks = findings.swept_looks, findings.swept_masks
    return [
        Curve("has the look", x, [_percent(figures.look) for figures in looks]),
        Curve("mIoU of masks", x, [_percent(figures.kept_iou) for figures in masks]),
        Curve("consensus", x, [_percent(figures.consensus_share) for figures in masks]),
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def plot(title: str, x_name: str, curves: Sequence[Curve]) -> np.ndarray:
    """Curves in percent over x, from the multiple of 20 below the least to 100: uint8 RGB."""
    canvas = blank(_HEIGHT, _WIDTH)
    ends = [end for curve in curves for pair in curve.spread for end in pair]
    known = [v for curve in curves for v in curve.values if v is not None] + ends
    axes = _Axes(
        low=20.0 * (min([80.0, *known]) // 20),
        left=min(x for curve in curves for x in curve.x),
        right=max(x for curve in curves for x in curve.x),
    )
    paste_text(canvas, title, 14, _LEFT, _TITLE, INK)
    _draw_axes(canvas, axes, sorted({x for curve in curves for x in curve.x}), x_name)
    begin = _LEFT
    for curve, colour in zip(curves, PALETTE, strict=False):
        _draw_curve(canvas, axes, curve, colour)
        canvas[53:56, begin : begin + 18] = colour
        paste_text(canvas, curve.name, 46, begin + 24, _NUMBER, INK)
        begin += text_width(curve.name, _NUMBER) + 44
    return canvas


@dataclass(frozen=True)
class _Axes:
    """Where x and a percentage lie, in px from the upper left corner."""

    low: float
    left: float
    right: float

    def column(self, x: float) -> float:
        span = self.right - self.left or 1.0
        return _LEFT + (x - self.left) / span * (_WIDTH - _LEFT - _RIGHT)

    def row(self, percent: float) -> float:
        share = (percent - self.low) / (100 - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _draw_axes(canvas: np.ndarray, axes: _Axes, ticks: Sequence[float], x_name: str) -> None:
    for percent in np.arange(axes.low, 101, 20 if axes.low < 60 else 10):
        row = round(axes.row(percent))
        canvas[row, _LEFT : _WIDTH - _RIGHT] = PALE
        words = f"{percent:g} %"
        paste_text(canvas, words, row - 9, _LEFT - text_width(words, _NUMBER) - 8, _NUMBER, GREY)
    bottom = _HEIGHT - _BOTTOM
    for x in ticks:
        column = round(axes.column(x))
        canvas[bottom : bottom + 5, column] = GREY
        words = f"{x:g}"
        left = column - text_width(words, _NUMBER) // 2
        paste_text(canvas, words, bottom + 6, left, _NUMBER, GREY)
    left = _WIDTH - _RIGHT - text_width(x_name, _NUMBER)
    paste_text(canvas, x_name, bottom + 28, left, _NUMBER, GREY)


def _draw_curve(canvas: np.ndarray, axes: _Axes, curve: Curve, colour: Colour) -> None:
    """The band of the spread, the line and its dots, in place."""
    if curve.spread:
        lower = [
            (axes.column(x), axes.row(s[0])) for x, s in zip(curve.x, curve.spread, strict=True)
        ]
        upper = [
            (axes.column(x), axes.row(s[1])) for x, s in zip(curve.x, curve.spread, strict=True)
        ]
        area = np.zeros(canvas.shape[:2], np.uint8)
        cv2.fillPoly(area, [np.round(np.array(lower + upper[::-1])).astype(np.int32)], 1)
        inside = area.astype(bool)
        canvas[inside] = canvas[inside] * (1 - _BAND) + np.array(colour) * _BAND
    points = [
        (axes.column(x), axes.row(v))
        for x, v in zip(curve.x, curve.values, strict=True)
        if v is not None
    ]
    line = np.round(np.array(points).reshape(-1, 1, 2) * 16).astype(np.int32)
    cv2.polylines(canvas, [line], False, colour, 2, cv2.LINE_AA, 4)
    for column, row in points:
        paste_dot(canvas, row, column, 3.5, colour)

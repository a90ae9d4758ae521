"""What an evaluation tells: the protocol in words, JSON, tables, the plot and sheets of masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aligndiff.dataset.images import Uint8
from aligndiff.evaluation.evaluate import Answer, Evaluated
from aligndiff.evaluation.intervals import CurvePoint, GainRow, fb_iou
from aligndiff.evaluation.support_gain import ClassGain
from aligndiff.render.overlay import overlay_mask
from aligndiff.render.plot import Curve, curve_plot
from aligndiff.render.sheet import grid
from aligndiff.segmenters.metrics import Scores

PROTOCOL = (
    "HSNet's protocol: the IoU of a class is one quotient, of the intersections and the unions "
    "summed over all of its images. mIoU is the mean over the classes. FB-IoU is the mean of "
    "background and object, each summed over all classes. Pixels whose truth is 255 (ignore) "
    "count nowhere."
)
_MOST_CLASS_CURVES = 5  # more of them would hide the mean
_PERCENT = 100


def score_columns(evaluated: Evaluated) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The names and the lines of the table: classes, then mIoU and FB-IoU."""
    scores, images = evaluated.scores, Counter(image.category for image in evaluated.images)
    rows: list[tuple[object, ...]] = [
        (name, images[name], foreground.iou)
        for name, (_, foreground) in sorted(scores.classes.items())
    ]
    total = len(evaluated.images)
    return ("class", "images", "IoU"), [
        *rows,
        ("mIoU", total, scores.miou),
        ("FB-IoU", total, scores.fb_iou),
    ]


def scores_json(evaluated: Evaluated, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything that was found, image by image."""
    scores = evaluated.scores
    return {
        "protocol": PROTOCOL,
        "settings": settings,
        "miou": scores.miou,
        "fb_iou": scores.fb_iou,
        "classes": _classes_json(scores),
        "images": [asdict(image) for image in evaluated.images],
    }


def gain_json(
    classes: Sequence[ClassGain],
    rows: Sequence[GainRow],
    curve: Sequence[CurvePoint],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Table, curve and, for each test image, its sums without and with all samples."""
    points = [asdict(point) | {"miou": point.miou, "interval": point.interval} for point in curve]
    return {
        "protocol": PROTOCOL,
        "settings": settings,
        "rows": [asdict(row) | {"gain": row.gain} for row in rows],
        "fb_iou": {
            "without": fb_iou([gain.none for gain in classes]),
            "with_all": fb_iou([gain.all for gain in classes]),
        },
        "curve": points,
        "sums": ["background intersection", "background union", "intersection", "union"],
        "images": {
            gain.task.category: [
                {"name": pair.name, "without": before.tolist(), "with_all": after.tolist()}
                for pair, before, after in zip(gain.task.tests, gain.none, gain.all, strict=True)
            ]
            for gain in classes
        },
        "samples": {gain.task.category: [s.name for s in gain.task.samples] for gain in classes},
    }


def gain_columns(rows: Sequence[GainRow]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The names and lines of the table; gains in points, hundredths of IoU."""
    names = ("class", "tests", "real", "synthetic", "real alone", "with synthetic")
    cells: list[tuple[object, ...]] = [
        (
            *(row.category, row.tests, row.real, row.synthetic, row.without, row.with_all),
            f"{_PERCENT * row.gain:+.2f}",
            f"{_PERCENT * row.low:+.2f} to {_PERCENT * row.high:+.2f}",
        )
        for row in rows
    ]
    return (*names, "gain, points", "95 % of resamples"), cells


def gain_plot(curve: Sequence[CurvePoint]) -> Uint8:
    """mIoU over the number of samples, with the middle 95 % of the draws; a few classes beside."""
    counts = [point.samples for point in curve]
    bounds = [point.interval for point in curve]
    curves = {
        "mIoU": Curve(
            counts,
            [point.miou for point in curve],
            [low for low, _ in bounds],
            [high for _, high in bounds],
        )
    }
    categories = list(curve[0].class_ious)
    if 1 < len(categories) <= _MOST_CLASS_CURVES:
        for category in categories:
            ious = [point.class_ious[category] for point in curve]
            curves[category] = Curve(counts, ious)
    names = "IoU of held-out images", "synthetic samples of each class"
    return curve_plot(curves, *names, log_counts=True)


def gain_sheet(classes: Sequence[ClassGain]) -> Uint8:
    """A line for each of the first test images: truth, and what was found without and with."""
    rows, titles = [], []
    for gain in classes:
        for shown in gain.shown:
            masks = (shown.pair.mask, shown.without, shown.with_all)
            rows.append([shown.pair.image, *(overlay_mask(shown.pair.image, m) for m in masks)])
            titles.append(f"{gain.task.category} {shown.pair.name}")
    columns = ("image", "truth", "real alone", "+ synthetic")
    return grid(rows, title="Held-out images", row_titles=titles, column_titles=columns)


def answers_sheet(title: str, answers: Sequence[Answer]) -> Uint8:
    """A line for each answer: the first support pair, query, truth, found."""
    rows, titles = [], []
    for answer in answers:
        support, query = answer.support[0], answer.query
        rows.append(
            [
                overlay_mask(support.image, support.mask),
                query.image,
                overlay_mask(query.image, query.mask),
                overlay_mask(query.image, answer.predicted),
            ]
        )
        titles.append(answer.episode.category)
    columns = ("support", "query", "truth", "found")
    return grid(rows, title=title, row_titles=titles, column_titles=columns)


def _classes_json(scores: Scores) -> dict[str, Any]:
    return {
        name: {"iou": foreground.iou, "background_iou": background.iou}
        | {"intersection": foreground.intersection, "union": foreground.union}
        for name, (background, foreground) in scores.classes.items()
    }

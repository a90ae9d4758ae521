"""The lines of the measurement's table: a figure, what it should be, and whether it is.

Values are shares and IoUs in [0, 1], or points of mIoU.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scripts.reporting import Columns, Line, Target, verdict
from scripts.tiny_world.measure.judge import JudgeAccuracy
from scripts.tiny_world.measure.samples import LookFigures, MaskFigures, PlainFigures

if TYPE_CHECKING:
    from scripts.tiny_world.measure.gain import GainPoint

GAIN = Target(10.0)  # points of mIoU


def show(value: float | None, unit: str) -> str:
    """A value in the words of the table: "93.5 %", "0.870", "12.3 points" or "38.0 levels"."""
    if value is None:
        return "-"
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if unit == "iou" else f"{value:.1f} {unit}"


def _show_spread(line: Line) -> str:
    """The least and the greatest over the seeds: "0.712 to 0.745"."""
    decimals = 3 if line.unit == "iou" else 1
    return " to ".join(f"{value:.{decimals}f}" for value in line.spread or ())


def _show_target(line: Line) -> str:
    if line.target is None:
        return ""
    # A bound has fewer decimals than a measured value.
    words = re.sub(r"\.?0+(?=\D*$)", "", show(line.target.bound, line.unit))
    return f"{line.target.kind} {words}"


COLUMNS: Columns = {
    "line": lambda line: line.group,  # of the list: "2", or "-" for the judge itself
    "what": lambda line: line.what,
    "value": lambda line: show(line.value, line.unit),
    "spread": _show_spread,
    "target": _show_target,
    "holds": verdict,
    "n": lambda line: str(line.n),  # images, scenes, or seeds that the value is a mean over
}


def judge_lines(accuracy: JudgeAccuracy, scenes: int) -> list[Line]:
    """How far the judge itself can be trusted."""
    return [
        Line("-", "judge: category right", accuracy.category, "share", scenes, Target(0.97)),
        Line("-", "judge: look right", accuracy.look, "share", scenes),
        Line("-", "judge: foreground mIoU", accuracy.foreground_iou, "iou", scenes, Target(0.95)),
    ]


def faithful_line(figures: PlainFigures) -> Line:
    what = "plain prompts: category recognised"
    return Line("1", what, figures.recognised, "share", figures.images, Target(0.90))


def heatmap_lines(figures: PlainFigures) -> list[Line]:
    share = figures.recognised or 0.0
    known = round(share * figures.images)
    what = "heatmap above its threshold: mean IoU with the judge's mask"
    return [
        Line("3", what, figures.heatmap_iou, "iou", known, Target(0.60)),
        Line("3", "images judged for it, as recognised", share, "share", figures.images),
    ]


def look_lines(word: LookFigures, learned: LookFigures) -> list[Line]:
    lines = [
        Line(
            "2",
            "plain word: has the look",
            word.look,
            "share",
            word.images,
            Target(0.15, "at most"),
        ),
        Line(
            "2", "learned word: has the look", learned.look, "share", learned.images, Target(0.80)
        ),
    ]
    for name, figures in (("plain word", word), ("learned word", learned)):
        lines += [
            Line("2", f"{name}: has both colours", figures.colours, "share", figures.images),
            Line("2", f"{name}: has the texture", figures.texture, "share", figures.images),
        ]
    return lines


def mask_lines(figures: MaskFigures) -> list[Line]:
    return [
        Line("4", "masks: mean IoU, all kept", figures.kept_iou, "iou", figures.kept, Target(0.85)),
        Line(
            "4",
            "masks: mean IoU, consensus",
            figures.consensus_iou,
            "iou",
            figures.consensus,
            Target(0.90),
        ),
        Line(
            "4",
            "masks: share of consensus",
            figures.consensus_share,
            "share",
            figures.images,
            Target(0.40),
        ),
    ]


def no_gain_line() -> Line:
    """Step 3 has left no mask of one of the objects."""
    return Line("5", "gain: an object has no synthetic pairs", None, "points", 0, GAIN)


def gain_lines(
    points: Sequence[GainPoint], judged: int, erasing: Sequence[GainPoint] = ()
) -> list[Line]:
    """What ``judged`` synthetic pairs add to the same number of real ones, and every point.

    ``erasing``: the same with random erasing, told without a target.
    """
    lines = [replace(gain_line(points, judged), target=GAIN), *map(point_line, points)]
    if erasing:
        told = [gain_line(erasing, judged), *map(point_line, erasing)]
        lines += [replace(line, what=f"{line.what}, random erasing") for line in told]
    return lines


def gain_line(points: Sequence[GainPoint], judged: int) -> Line:
    """The mean over the seeds of what the synthetic pairs add, with its least and greatest."""
    alone = max((p for p in points if not p.synthetic), key=lambda point: point.real)
    both = next(p for p in points if p.synthetic == judged)
    pairs = list(zip(both.seed_mious, alone.seed_mious, strict=True))
    gains = [100 * (with_them - without) for with_them, without in pairs]
    what = f"gain by {judged} synthetic pairs beside {alone.real} real ones, mIoU"
    ends = min(gains), max(gains)
    return Line("5", what, float(np.mean(gains)), "points", len(gains), None, ends)


def point_line(point: GainPoint) -> Line:
    found = point.seed_mious
    ends = min(found), max(found)
    return Line("5", f"mIoU from {pairs_named(point)}", point.miou, "iou", len(found), None, ends)


def pairs_named(point: GainPoint) -> str:
    """Such as "5 real + 100 synthetic pairs", with what there was when there were fewer."""
    if not point.synthetic:
        return f"{point.real} real pair{'s' if point.real > 1 else ''}"
    there = "" if min(point.used) >= point.synthetic else f" (there were {min(point.used)})"
    return f"{point.real} real + {point.synthetic} synthetic pairs{there}"


def sweep_lines(looks: Sequence[LookFigures], masks: Sequence[MaskFigures]) -> list[Line]:
    """Lines 2 and 4 again for every value of --bg_lambda."""
    lines = []
    for look, mask in zip(looks, masks, strict=True):
        name = f"bg_lambda {look.name}"
        lines += [
            Line("6", f"{name}: has the look", look.look, "share", look.images),
            Line("6", f"{name}: mean IoU, all kept", mask.kept_iou, "iou", mask.kept),
            Line("6", f"{name}: share of consensus", mask.consensus_share, "share", mask.images),
        ]
    return lines


def without_targets(lines: Sequence[Line]) -> list[Line]:
    """The lines of a quick run, whose figures mean nothing."""
    return [replace(line, target=None) for line in lines]

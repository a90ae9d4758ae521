"""The lines of the measurement's table: a figure, what it should be, and whether it is.

Values are shares and IoUs in [0, 1], or points of mIoU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scripts.reporting import Columns, Line, Target, verdict
from scripts.tiny_world.measure.judge import JudgeAccuracy
from scripts.tiny_world.measure.samples import LookFigures, MaskFigures, PlainFigures

if TYPE_CHECKING:
    from scripts.tiny_world.measure.gain import ArmFigures, GainFindings

GAIN, LEAST_GAIN, LEAST_ALONE = Target(15.0), Target(8.0), Target(-1.0)  # points of mIoU
CEILING_SHARE = Target(0.70)


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
        Line("-", "judge: category and kind right", accuracy.kind, "share", scenes, Target(0.90)),
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


def gain_lines(gain: GainFindings, samples: int) -> list[Line]:
    """What ``samples`` synthetic pairs and their scenes add to five real ones, and from what."""
    company, alone = gain.best["company"], gain.best["alone"]
    gains = arm_gains(company, "company")
    lines = [
        _gain_line(f"gain by {samples} samples and scenes, in company", gains, GAIN),
        Line("5", "its lowest draw", min(gains), "points", len(gains), LEAST_GAIN),
        Line("5", "share of the ceiling", ceiling_share(company), "share", 1, CEILING_SHARE),
    ]
    gains = arm_gains(alone, "alone")
    lines += [
        _gain_line("gain alone", gains, None),
        Line("5", "gain alone, its lowest draw", min(gains), "points", len(gains), LEAST_ALONE),
        _gain_line("gain of ordinary networks, in company", arm_gains(gain.networks, "company")),
        _gain_line("gain of ordinary networks, alone", arm_gains(gain.networks, "alone")),
    ]
    for place, arms in gain.best.items():
        lines += [arm_line(figures, place, "best recipe: ") for figures in arms.values()]
    lines += [arm_line(f, place) for f in gain.told for place in f.mious]
    many, few = (figures.mious["company"] for figures in gain.prompts)
    by_prompts = [100 * (one - other) for one, other in zip(many, few, strict=True)]
    lines.append(_gain_line("gain of many prompts over few, in company", by_prompts))
    counted = [*gain.curve, *gain.prompts]
    return lines + [arm_line(f, "company", f"{f.samples} samples: ") for f in counted]


def arm_gains(arms: Mapping[str, ArmFigures], place: str) -> list[float]:
    """What the synthetic pairs add in each draw, points of mIoU."""
    pairs = zip(arms["synthetic"].mious[place], arms["real"].mious[place], strict=True)
    return [100 * (with_them - without) for with_them, without in pairs]


def ceiling_share(arms: Mapping[str, ArmFigures]) -> float | None:
    """Of what true pairs would add, the share that the synthetic ones do; None of nothing."""
    real, synthetic, true = (arms[name].mean("company") for name in ("real", "synthetic", "true"))
    return (synthetic - real) / (true - real) if true > real else None


def _gain_line(what: str, gains: Sequence[float], target: Target | None = None) -> Line:
    ends = min(gains), max(gains)
    return Line("5", what, float(np.mean(gains)), "points", len(gains), target, ends)


def arm_line(figures: ArmFigures, place: str, before: str = "") -> Line:
    """The mIoU of an arm by its recipe, the mean over the draws with the least and greatest."""
    mious = figures.mious[place]
    what = f"{before}{figures.arm} ({figures.recipe}), {place}"
    ends = min(mious), max(mious)
    return Line("5", what, figures.mean(place), "iou", len(mious), None, ends)


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

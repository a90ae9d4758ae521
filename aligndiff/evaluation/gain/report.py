"""What an evaluation of the gain tells: tables, JSON, the plot, a sheet of the batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aligndiff.dataset.images import Uint8
from aligndiff.evaluation.gain.figures import Comparison, GainPoint
from aligndiff.evaluation.gain.material import GainMaterial
from aligndiff.evaluation.gain.plan import ARMS, GainPlan
from aligndiff.evaluation.gain.recipes import RECIPES
from aligndiff.evaluation.gain.units import REAL, SYNTHETIC, Choice
from aligndiff.render.overlay import overlay_mask
from aligndiff.render.plot import Curve, curve_plot
from aligndiff.render.sheet import grid

if TYPE_CHECKING:
    from aligndiff.segmenters.trained.batches import PairStack

Cells = tuple[tuple[str, ...], list[tuple[object, ...]]]
_PERCENT = 100
_SHOWN = 8  # images of each kind on the sheet


def recipe_cells(plan: GainPlan, choices: Mapping[tuple[str, str], Choice]) -> Cells:
    """The names and lines of the table of recipes: what each reached on validation."""
    best = {arm: choices[plan.contests[0].name, arm] for arm in ARMS}
    rows: list[tuple[object, ...]] = []
    for recipe in plan.recipes:
        cells = []
        for arm in ARMS:
            mark = " *" if best[arm].recipe == recipe else ""
            cells.append(f"{best[arm].ious[recipe.name]:.3f}{mark}")
        rows.append((recipe.name, *cells, recipe.words))
    return ("recipe", "real alone", "with synthetic", "what it is"), rows


def gain_cells(lines: Sequence[Comparison]) -> Cells:
    """The names and lines of the table; gains in points, hundredths of IoU."""
    cells: list[tuple[object, ...]] = [
        (
            *(line.contest, line.category, line.tests),
            f"{line.without:.3f} {line.real_recipe}",
            f"{line.with_samples:.3f} {line.synthetic_recipe}",
            f"{_PERCENT * line.gain:+.1f}",
            f"{_PERCENT * line.low:+.1f} to {_PERCENT * line.high:+.1f}",
        )
        for line in lines
    ]
    names = ("segmenter", "class", "tests", "real alone", "with synthetic", "gain", "95 %")
    return names, cells


def gain_json(
    plan: GainPlan,
    choices: Mapping[tuple[str, str], Choice],
    lines: Sequence[Comparison],
    curve: Sequence[GainPoint],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Everything that is told; the sums of every image are in the records of the trainings."""
    return {
        "settings": settings,
        "recipes": {name: asdict(RECIPES[name]) for name in RECIPES},
        "choices": [
            {"segmenter": contest, "arm": arm, "recipe": choice.recipe.name}
            | {"validation": choice.ious}
            for (contest, arm), choice in choices.items()
        ],
        "comparisons": [asdict(line) | {"gain": line.gain} for line in lines],
        "curve": [asdict(point) | {"miou": point.miou} for point in curve],
        "classes": {
            pairs.category: {"real": len(pairs.real), "samples": len(pairs.samples)}
            | {"tests": len(pairs.tests), "validation": len(pairs.validation)}
            for pairs in plan.classes
        },
    }


def gain_plot(curve: Sequence[GainPoint]) -> Uint8:
    """mIoU over the number of samples, with a band from the least draw to the greatest."""
    line = Curve(
        [point.samples for point in curve],
        [point.miou for point in curve],
        [min(point.mious) for point in curve],
        [max(point.mious) for point in curve],
    )
    names = "mIoU on the test", "samples of each class"
    return curve_plot({"best recipe": line}, *names, log_counts=True)


def batches_sheet(title: str, arms: Mapping[str, GainMaterial]) -> Uint8:
    """What a batch is made of, a line for each kind: images with their masks."""
    real, synthetic = arms[REAL], arms[SYNTHETIC]
    stacks = {
        "real": real.plain_real,
        "real, pasted": real.composed_real,
        "samples": synthetic.plain_synthetic,
        "samples, pasted": synthetic.composed_synthetic,
        "negatives": real.negatives,
    }
    if not real.around.backgrounds:
        stacks = {name: stacks[name] for name in ("real", "samples")}
    rows = [tiles for stack in stacks.values() for tiles in _seen_and_marked(stack)]
    titles = [title for name in stacks for title in (name, "")]
    return grid(rows, title=title, row_titles=titles)


def _seen_and_marked(stack: PairStack) -> tuple[list[Uint8], list[Uint8]]:
    """A line of images, and the same with their masks."""
    images, masks = list(stack.images[:_SHOWN]), stack.masks[:_SHOWN]
    return images, [overlay_mask(image, mask) for image, mask in zip(images, masks, strict=True)]

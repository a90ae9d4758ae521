"""One picture of the gain: five photos, samples and scenes made from them, and what both teach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.support import SupportPair
from aligndiff.evaluation.gain.learn import train
from aligndiff.evaluation.gain.recipes import RECIPES
from aligndiff.evaluation.gain.units import GainUnit
from aligndiff.evaluation.gain.work import hash_seed
from aligndiff.render.overlay import overlay_mask
from aligndiff.render.sheet import grid
from aligndiff.segmenters.metrics import class_iou
from scripts.tiny_world.measure.gain import (
    ARMS,
    GainFindings,
    GainJob,
    machine_of,
    material_of,
    test_sets,
)

CATEGORY = "fish"
COLUMNS, TILE = 10, 112
_SIDES = {"real": "from 5 photos", "synthetic": "with samples"}


def gain_picture(job: GainJob, gain: GainFindings) -> Uint8:
    """The first draw of one category: pairs, samples, scenes, and test scenes as they come.

    Below the test scenes, what the best segmenter from the five pairs finds in them, and the best
    one that has the samples as well.
    """
    test = test_sets(CATEGORY, "category", job.size)["test company"]
    images, materials, answers = [pair.image for pair in test.pairs], {}, {}
    for arm in _SIDES:
        recipe = RECIPES[gain.best["company"][arm].recipe]
        count = 0 if ARMS[arm].extra is None else job.size.samples
        unit = GainUnit(CATEGORY, arm, recipe.name, count, draw=0)
        materials[arm] = material_of(unit, job)
        answers[arm] = train(recipe, materials[arm], machine_of(job), hash_seed(0, 0))(test)
    made = materials["synthetic"]
    rows = {
        "five photos": _marked_pairs(made.real),
        "samples": _marked_pairs(made.synthetic),
        "scenes": _marked(made.composed_synthetic.images, made.composed_synthetic.masks),
        "new scenes": images[:COLUMNS],
    } | {title: _marked(images, answers[arm]) for arm, title in _SIDES.items()}
    without, with_them = (class_iou(test.sums(answers[arm])) for arm in _SIDES)
    heading = (
        f"Five photos, and what {job.size.samples} synthetic ones add: "
        f"IoU {without:.2f} and {with_them:.2f} in {len(images)} new scenes"
    )
    return grid([*rows.values()], title=heading, row_titles=[*rows], tile=TILE)


def _marked(images: Iterable[Uint8], masks: Iterable[NDArray[Any]]) -> list[Uint8]:
    """The first images with their masks."""
    return [overlay_mask(*pair) for pair in islice(zip(images, masks, strict=True), COLUMNS)]


def _marked_pairs(pairs: Sequence[SupportPair]) -> list[Uint8]:
    return _marked([pair.image for pair in pairs], [pair.mask for pair in pairs])

"""One picture of the gain: five photos, samples and scenes made from them, and what both teach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import Uint8
from aligndiff.dataset.support import SupportPair
from aligndiff.evaluation.gain.learn import TestSet, train
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

    Below the test scenes, what the best segmenter from the five photos finds in them, and the best
    one that has the samples as well.
    """
    test = test_sets(CATEGORY, "category", job.size)["test company"]
    shown = test.pairs[:COLUMNS]
    rows: list[list[Uint8 | None]] = []
    answers, ious = [], []
    for arm in _SIDES:
        recipe = RECIPES[gain.best["company"][arm].recipe]
        count = 0 if ARMS[arm].extra is None else job.size.samples
        unit = GainUnit(CATEGORY, arm, recipe.name, count, draw=0)
        material = material_of(unit, job)
        answer = train(recipe, material, machine_of(job), hash_seed(0, 0))(test)
        ious.append(class_iou(test.sums(answer)))
        answers.append(_marked_masks(test, answer))
    pasted = material.composed_synthetic
    rows.append(_marked(material.real))
    rows.append(_marked(material.synthetic[:COLUMNS]))
    rows.append([overlay_mask(*pair) for pair in zip(pasted.images, pasted.masks, strict=True)])
    rows.append([pair.image for pair in shown])
    names = ["five photos", "samples", "scenes", "new photos", *_SIDES.values()]
    tiles = [row[:COLUMNS] for row in [*rows, *answers]]
    heading = (
        f"Five photos, and what {job.size.samples} synthetic ones add: "
        f"IoU {ious[0]:.2f} and {ious[1]:.2f} on {len(test.pairs)} new photos"
    )
    return grid(tiles, title=heading, row_titles=names, tile=TILE)


def _marked(pairs: Sequence[SupportPair]) -> list[Uint8 | None]:
    return [overlay_mask(pair.image, pair.mask) for pair in pairs]


def _marked_masks(test: TestSet, masks: Sequence[NDArray[np.bool_]]) -> list[Uint8 | None]:
    pairs = zip(test.pairs, masks, strict=True)
    return [overlay_mask(pair.image, mask) for pair, mask in pairs]

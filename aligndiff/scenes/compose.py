"""Composing scenes and writing their files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial

import cv2
import numpy as np

from aligndiff.composition.compose import ComposedScene, ScenePart, compose
from aligndiff.core.console import Advance
from aligndiff.core.errors import InputError
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.images import write_image
from aligndiff.dataset.records import FailureRecord, PastedRecord, SceneRecord
from aligndiff.dataset.scenes import discard_scene, write_scene_mask
from aligndiff.scenes.config import SceneConfig
from aligndiff.scenes.materials import Materials
from aligndiff.scenes.plan import PlannedScene, ScenePlan

logger = logging.getLogger(__name__)

_WRITERS = 2  # threads that encode and write
_AHEAD = 8  # scenes that may wait for them


def compose_scenes(
    scenes: Sequence[PlannedScene], config: SceneConfig, advance: Advance
) -> list[PlannedScene]:
    """Compose all `scenes` and write them meanwhile; returns those that failed.

    A scene's files are its image, its mask and, last, its record; each appears whole. Of a scene
    whose material cannot be read the reason is written instead, and the run goes on.
    """
    failed: list[PlannedScene] = []

    def outcomes() -> Iterator[tuple[PlannedScene, ComposedScene | str]]:
        plan, ingredients = None, None
        for scene in scenes:
            if plan is not scene.plan or ingredients is None:
                plan, ingredients = scene.plan, scene.plan.materials.ingredients(scene.plan.size)
            rng = np.random.default_rng(scene.seed)
            with_object = bool(rng.random() >= config.negatives)
            try:
                yield scene, compose(ingredients, rng, config.recipe, with_object)
            except InputError as error:
                reason = "; ".join(error.problems)
                failed.append(scene)
                logger.warning(_failure(scene, reason))
                yield scene, reason
            advance(1, scene.plan.category)

    cv2.setNumThreads(1)  # processes are what there is one of for each core
    write = partial(_write, image_format=config.image_format)
    for _ in prefetch_map(write, outcomes(), ahead=_AHEAD, threads=_WRITERS):
        pass
    return failed


def _write(outcome: tuple[PlannedScene, ComposedScene | str], image_format: str) -> None:
    scene, result = outcome
    place, index = scene.plan.place, scene.index
    discard_scene(place, index)
    if isinstance(result, str):
        FailureRecord(4, result, index).write(place.failure_path(index))
        return
    write_image(place.image_path(index, image_format), result.composite.image)
    write_scene_mask(place.mask_path(index), result.composite.mask)
    _record(scene, result, image_format).write(place.record_path(index))


def _record(scene: PlannedScene, result: ComposedScene, image_format: str) -> SceneRecord:
    plan: ScenePlan = scene.plan
    return SceneRecord(
        index=scene.index,
        seed=scene.seed,
        image_format=image_format,
        fingerprint=plan.record.fingerprint,
        area=round(result.composite.area / result.composite.mask.size, 6),
        parts=tuple(_pasted(part, plan.materials) for part in result.parts),
    )


def _pasted(part: ScenePart, materials: Materials) -> PastedRecord:
    """What a part of a scene was, by name, and how it was put there."""
    if part.role == "other":
        source, name = materials.others[part.index].source, materials.others[part.index].name
    elif part.role == "object" or part.pair:
        source, name = materials.pairs[part.index].source, materials.pairs[part.index].name
    else:
        source, name = "background", materials.backgrounds[part.index].name
    if (placed := part.placement) is None:
        return PastedRecord(part.role, source, name)
    return PastedRecord(
        part.role,
        source,
        name,
        scale=round(placed.scale, 6),
        row=round(placed.foot.row, 6),
        column=round(placed.foot.column, 6),
        flip=placed.flip,
        behind=placed.behind,
        colour_fit=round(placed.colour_fit, 6),
    )


def _failure(scene: PlannedScene, reason: str) -> str:
    noted = scene.plan.place.failure_path(scene.index)
    return f"failed: {scene.plan.category} scene {scene.index}: {reason}; noted in {noted}"

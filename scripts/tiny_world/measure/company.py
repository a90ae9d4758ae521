"""Line 7: masks of rendered scenes, where the truth is exact: the object alone, and in company.

The segmenter's own map, and what the rules of step 3 make of it. Every scene is fresh, and so are
the support pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aligndiff.dataset.support import SupportPair
from aligndiff.masks.edges.table import edge_settings
from aligndiff.masks.regions import intersection_over_union
from aligndiff.masks.rules import learn_rules
from aligndiff.refinement.config import RefinementConfig
from aligndiff.segmenters.leave_one_out import maps_of_support
from scripts.reporting import Line, Target
from scripts.tiny_world.make_example import PAIRS
from scripts.tiny_world.world.example import EXAMPLE_KINDS, EXAMPLES, resembles_an_example
from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import random_scene, render
from scripts.tiny_world.world.shapes import SHAPES

if TYPE_CHECKING:
    from aligndiff.segmenters.base import Segmenter

SUPPORT_SEED, SCENE_SEED = 96_000_000, 97_000_000  # of no training, and of no other line
APART = 100_000  # of the seeds of one category and look
RESAMPLES = 1000
# The objects of a fixed look and body, as a learned word gives them, and a category in any look.
KINDS: dict[str, dict[str, Look | None]] = {
    "example objects": dict(EXAMPLES),
    "any look": dict.fromkeys(SHAPES),
}
TARGETS = {
    ("example objects", True): Target(0.94),
    ("example objects", False): Target(0.90),
    ("any look", False): Target(0.70),
}


@dataclass(frozen=True)
class SceneIous:
    """IoUs with the exact masks, scene by scene: of the segmenter's mask and of the refined one."""

    plain: tuple[float, ...]
    refined: tuple[float, ...]


def company_lines(segmenter: Segmenter, scenes: int) -> list[Line]:
    """Both kinds, alone and beside a thing of the same size; `scenes` of each category."""
    lines = []
    for kind, looks in KINDS.items():
        for alone in (True, False):
            found = [
                category_ious(segmenter, category, look, number, scenes, alone)
                for number, (category, look) in enumerate(looks.items())
            ]
            where = "alone" if alone else "beside another thing"
            plain = [iou for one in found for iou in one.plain]
            refined = [iou for one in found for iou in one.refined]
            title = f"rendered, {kind}, {where}"
            lines += [
                interval_line(f"{title}: segmenter's own mask", plain, None),
                interval_line(f"{title}: refined mask", refined, TARGETS.get((kind, alone))),
            ]
    return lines


def category_ious(
    segmenter: Segmenter, category: str, look: Look | None, number: int, scenes: int, alone: bool
) -> SceneIous:
    """Of fresh scenes of one category, by PAIRS support pairs that show it alone."""
    offset = APART * (number + len(SHAPES) * (look is None))
    drawn = _draw(SUPPORT_SEED + offset, PAIRS, category, look, True)
    support = [SupportPair("rendered", image, mask.astype(np.uint8)) for image, mask in drawn]
    config = RefinementConfig()
    encoded = segmenter.encode([pair.image for pair in support])
    described = [segmenter.describe(*pair) for pair in zip(encoded, _masks(support), strict=True)]
    known = maps_of_support(segmenter, support, encoded, described)
    edges, threshold = edge_settings(config.refine_edges), config.pseudo_label_threshold
    rules = learn_rules(support, known, config, edges, threshold)
    segmenter.set_support(described)
    plain, refined = [], []
    for image, truth in _draw(SCENE_SEED + offset, scenes, category, look, alone):
        probability = segmenter.segment(segmenter.encode([image])[0])
        judged, _ = rules(image, probability)
        plain.append(intersection_over_union(probability > threshold, truth))
        refined.append(intersection_over_union(judged.probability > threshold, truth))
    return SceneIous(tuple(plain), tuple(refined))


def interval_line(what: str, ious: Sequence[float], target: Target | None) -> Line:
    """The mean, with the 95 % interval of a bootstrap over scenes."""
    values = np.array(ious)
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Line("7", what, float(values.mean()), "iou", len(ious), target, (low, high))


def _masks(support: Sequence[SupportPair]) -> list[np.ndarray]:
    return [pair.mask for pair in support]


def _draw(
    seed: int, count: int, category: str, look: Look | None, alone: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images uint8 (h, w, 3) with the object's visible mask, bool (h, w).

    With a look they are of the example objects' own kinds, and the thing beside them never wears a
    look of theirs.
    """
    kind = None if look is None else EXAMPLE_KINDS[category]
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    while len(drawn) < count:
        scene = random_scene(seed, category, look, alone, kind)
        seed += 1
        rendering = render(scene)
        others = scene.things[1:]
        twins = look is not None and any(resembles_an_example(one.look) for one in others)
        if not twins and rendering.masks[0].any():
            drawn.append((rendering.image, rendering.masks[0]))
    return drawn

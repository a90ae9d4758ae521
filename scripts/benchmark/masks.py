"""Part h: from a segmenter's map to a mask of sharp edges with a score."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from aligndiff.masks.coarse import coarse_map
from aligndiff.masks.edges.guided import GuidedEdges
from aligndiff.masks.health import ailments
from aligndiff.masks.score import score_mask
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.scenes import scene
from scripts.benchmark.timing import alternate
from scripts.reporting import Line

SIDE = 512  # px
RADIUS = 0.05  # of the guided filter's windows, a share of the side
FLOOR, TARGET = 7.0, at_most(10.0)  # ms


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Milliseconds an image, of both together and of the score with the health check alone."""
    image, inside = scene(0, SIDE)
    probability = coarse_map(inside)
    edges = GuidedEdges(RADIUS)

    def judge() -> object:
        mask = probability > 0.5
        return score_mask(probability, mask, inside), ailments(mask)

    def both() -> object:
        refined = edges(image, probability).probability
        mask = refined > 0.5
        return score_mask(refined, mask, inside), ailments(mask)

    seconds = alternate({"both": both, "judge": judge}, config.short_rounds)
    named = {"both": "guided edges, score and health", "judge": "score and health"}
    for side, what in named.items():
        yield line(
            "i",
            f"{what}, {SIDE} px, an image",
            [1000 * value for value in seconds[side]],
            "ms",
            floor=FLOOR if side == "both" else None,
            target=TARGET if side == "both" else None,
        )

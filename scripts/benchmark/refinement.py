"""Part d: what a look at an image costs in step 3, against the backbone's forward in float32."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aligndiff.core.device import choose_dtype
from aligndiff.masks.regions import intersection_over_union
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.files import Query
from aligndiff.refinement.refine import refine
from aligndiff.segmenters.base import feature_memory
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.segmenters.ssp.load import resolve_checkpoint
from aligndiff.segmenters.ssp.network import SSP, SSPConfig, image_tensor
from aligndiff.segmenters.ssp.segmenter import SSPSegmenter
from scripts.benchmark import matching
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_least, at_most, line
from scripts.benchmark.networks import TINY, random_ssp
from scripts.benchmark.scenes import scene, scene_pair
from scripts.benchmark.timing import Clock, alternate, clock, ratios
from scripts.reporting import Line

FIRST_FLOOR, FIRST_TARGET = 1.56, at_most(1.6)  # of the backbone, in float32
REDUCED_FLOOR, REDUCED_TARGET = 0.47, at_most(0.6)  # of the same, in 16 bits
IOU_TARGET = at_least(0.995)
SECOND_FLOOR, SECOND_TARGET = 0.38, at_most(0.45)  # of the first pass
# No mask agrees with its heatmap better than fully: every image gets a second look, and the
# support stays as it is.
CONFIG = RefinementConfig(
    consensus_iou_threshold=1.0, refine_edges="none", regions="all", agreement="method"
)


@dataclass(frozen=True)
class Case:
    """A network, and the images it looks at."""

    title: str
    network: SSP  # float32 on the CPU
    side: int  # of an image in pixels
    images: int
    published: bool  # of the kind that the time targets are about
    trained: bool  # so that its masks mean something


@dataclass
class PassTimings:
    """What one run of Algorithm 1 took: seconds of each pass an image, and its last masks."""

    first: float = 0.0
    second: float = 0.0
    masks: dict[int, NDArray[np.bool_]] = field(default_factory=dict)


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """The tiny segmenter at its own size; ResNet-101 with random weights at 512 px."""
    checkpoint = load_ssp(Path(resolve_checkpoint(TINY, None).location))
    yield from _measure(
        Case("tiny SSP", checkpoint.network, checkpoint.input_side or 128, 8, False, True),
        config.rounds,
        device,
    )
    if config.effort.large_networks:
        seen = np.stack([scene(100 + number, 128)[0] for number in range(4)])
        network = random_ssp(SSPConfig(), seen)
        case = Case("SSP ResNet-101", network, 512, 2, True, False)
        yield from _measure(case, config.rounds, device)
    yield from matching.measure(config, device)


def _measure(case: Case, repeats: int, device: torch.device) -> Iterator[Line]:
    now = clock(device)
    exact, reduced = torch.float32, choose_reduced(device)
    looks: dict[torch.dtype, list[PassTimings]] = {exact: [], reduced: []}
    sides: dict[str, Callable[[], object]] = {"backbone": backbone_alone(case, device)}
    for dtype, found in looks.items():
        # A copy each: a segmenter may change its network's layout.
        segmenter = WatchedSegmenter(copy.deepcopy(case.network), device, dtype, case.images, now)
        sides[str(dtype)] = partial(_note, found, segmenter, case)
    seconds = alternate(sides, repeats, now)
    backbone = [value / case.images for value in seconds["backbone"]]
    # The first of each ran before the clocks did.
    yield from _lines(case, backbone, looks[exact][1:], looks[reduced][1:])


def _lines(
    case: Case,
    backbone: Sequence[float],
    exact: Sequence[PassTimings],
    reduced: Sequence[PassTimings],
) -> Iterator[Line]:
    name, judged = case.title, case.published
    first = [one.first for one in exact]
    yield line("d", f"{name}, {case.side} px: backbone's forward, float32, an image", backbone, "s")
    first_reduced = [one.first for one in reduced]
    second = [one.second for one in exact]
    compared = (
        ("first pass, float32, against it", first, backbone, FIRST_FLOOR, FIRST_TARGET),
        ("first pass, 16 bits, against it", first_reduced, backbone, REDUCED_FLOOR, REDUCED_TARGET),
        ("second pass against the first, float32", second, first, SECOND_FLOOR, SECOND_TARGET),
    )
    for what, seconds, others, floor, target in compared:
        bounds = (floor, target) if judged else (None, None)
        yield line("d", f"{name}: {what}", ratios(seconds, others), "x", *bounds)
    yield line(
        "d",
        f"{name}: masks of 16 bits, mean IoU with float32",
        [mean_iou(reduced[-1].masks, exact[-1].masks)],
        "IoU",
        target=IOU_TARGET if case.trained else None,
    )


def choose_reduced(device: torch.device) -> torch.dtype:
    """The 16-bit format of a device: bfloat16 on a CPU, the automatic one on a GPU."""
    return torch.bfloat16 if device.type == "cpu" else choose_dtype("auto", device)


def _note(found: list[PassTimings], segmenter: WatchedSegmenter, case: Case) -> None:
    found.append(look(segmenter, case))


class WatchedSegmenter(SSPSegmenter):
    """Notes when it knows its support: from then on the looks count."""

    def __init__(
        self, network: SSP, device: torch.device, dtype: torch.dtype, batch: int, now: Clock
    ) -> None:
        super().__init__(network, None, device, dtype, batch)
        self.now = now
        self.ready = 0.0

    def set_support(self, *args: Any, **kwargs: Any) -> None:
        super().set_support(*args, **kwargs)
        self.ready = self.now()


def look(segmenter: WatchedSegmenter, case: Case) -> PassTimings:
    """Algorithm 1 over the images, each seen twice."""
    queries = [_query(number, case.side) for number in range(1, case.images + 1)]
    found, uncertain = PassTimings(), 0
    middle = 0.0
    kept = feature_memory(segmenter.device)
    for verdict in refine(segmenter, [scene_pair(0, case.side)], queries, CONFIG, kept):
        if verdict.outcome == "uncertain":
            uncertain += 1
            middle = segmenter.now()
        elif verdict.mask is not None:
            found.masks[verdict.index] = verdict.mask
    assert uncertain == case.images, "an image was spared its second look"
    found.first = (middle - segmenter.ready) / case.images
    found.second = (segmenter.now() - middle) / case.images
    return found


def _query(number: int, side: int) -> Query:
    """A scene in memory, its true mask as the heatmap."""
    image, inside = scene(number, side)
    heatmap = inside.astype(np.uint8) * 255
    return Query(number, lambda: image, lambda: heatmap)


def backbone_alone(case: Case, device: torch.device) -> Callable[[], object]:
    """The forward pass of all images at once in float32, and nothing else."""
    network = copy.deepcopy(case.network).to(device)
    images = np.stack([scene(number, case.side)[0] for number in range(1, case.images + 1)])
    pixels = image_tensor(images).to(device)

    @torch.inference_mode()
    def run() -> object:
        return network.backbone(pixels)

    return run


def mean_iou(
    masks: Mapping[int, NDArray[np.bool_]], exact: Mapping[int, NDArray[np.bool_]]
) -> float:
    """Mean over all images that either has a mask of; one without a partner counts 0."""
    ious = [
        intersection_over_union(masks[index], exact[index])
        if index in masks and index in exact
        else 0.0
        for index in {*masks, *exact}
    ]
    return float(np.mean(ious)) if ious else 0.0

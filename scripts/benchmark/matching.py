"""Part d, too: what matching frozen features costs, against the forward pass that makes them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from aligndiff.segmenters.features.extractors.base import Extractor
from aligndiff.segmenters.features.extractors.efficientnet import NAME, is_installed
from aligndiff.segmenters.features.extractors.table import load_extractor, resolve_extractor
from aligndiff.segmenters.features.extractors.transformers import SIDE, TransformersBackbone
from aligndiff.segmenters.features.segmenter import FeatureMatcher
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.scenes import scene, scene_pair
from scripts.benchmark.timing import alternate, clock, ratios
from scripts.reporting import Line

SUPPORTS = 5
TARGET = at_most(0.5)  # of the backbone's forward


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """EfficientNet-Lite0 where it is installed; DINOv2's base with random weights."""
    if is_installed():
        found = resolve_extractor(NAME, "benchmark")
        extractor = load_extractor(found, device, torch.float32)
        yield from _measure("EfficientNet-Lite0", extractor, config, device)
    if config.effort.large_networks:
        yield from _measure("DINOv2 base", _random_dinov2(device), config, device, judged=True)


def _measure(
    title: str,
    extractor: Extractor,
    config: BenchmarkConfig,
    device: torch.device,
    judged: bool = False,
) -> Iterator[Line]:
    matcher = FeatureMatcher(extractor)
    pairs = [scene_pair(number, SIDE) for number in range(SUPPORTS)]
    known = matcher.encode([pair.image for pair in pairs])
    items = [matcher.describe(seen, pair.mask) for seen, pair in zip(known, pairs, strict=True)]
    image, _ = scene(100, SIDE)
    (query,) = matcher.encode([image])
    matcher.set_support(items)
    seconds = alternate(
        {
            "forward": lambda: matcher.encode([image]),
            "matching": lambda: matcher.segment(query),
            "support": lambda: matcher.set_support(items),
        },
        config.rounds,
        clock(device),
    )
    name = f"{title}, {SIDE} px"
    yield line("d", f"{name}: features of an image", seconds["forward"], "s")
    compared = ratios(seconds["matching"], seconds["forward"])
    what = f"{name}: matching with {SUPPORTS} pairs, against it"
    yield line("d", what, compared, "x", target=TARGET if judged else None)
    learned = ratios(seconds["support"], seconds["forward"])
    yield line("d", f"{name}: learning {SUPPORTS} pairs, once, against it", learned, "x")


def _random_dinov2(device: torch.device) -> Extractor:
    from transformers import Dinov2Backbone, Dinov2Config

    network = Dinov2Backbone(Dinov2Config(image_size=SIDE, patch_size=14, out_indices=[-1]))
    return TransformersBackbone(network, {}, device, torch.float32)

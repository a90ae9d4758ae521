"""Networks with random weights: they draw, they segment, and they cost what trained ones cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aligndiff.diffusion.sampling import SamplerSettings, encode_entry, generate
from aligndiff.segmenters.ssp.network import SSPConfig, image_tensor
from aligndiff.segmenters.ssp.segmenter import SSPSegmenter
from scripts.benchmark.drawing import ENTRY
from scripts.benchmark.networks import MID, TINIEST, random_pipeline, random_ssp, sd15
from scripts.benchmark.scenes import scene, scene_pair

CPU = torch.device("cpu")


def test_a_random_pipeline_draws_finite_images_with_heatmaps() -> None:
    pipe = random_pipeline(TINIEST, CPU, torch.float32)
    settings = SamplerSettings(2, 7.5, (TINIEST.side, TINIEST.side))
    first, again = (generate(pipe, encode_entry(pipe, ENTRY), [3], settings)[0] for _ in range(2))
    assert first is not None and again is not None
    assert first.image.shape == (128, 128, 3) and first.heatmap.max() > 0
    assert np.array_equal(first.image, again.image)


def test_the_text_of_random_networks_is_as_long_as_clips() -> None:
    pipe = random_pipeline(TINIEST, CPU, torch.float32)
    ((conditional, _),) = encode_entry(pipe, ENTRY).answers.values()
    assert conditional.shape == (1, 77, TINIEST.text_width)


def test_topology_of_stable_diffusion() -> None:
    assert sd15(1).channels == (320, 640, 1280, 1280)
    assert (sd15(1).heads, sd15(1).text_width, sd15(1).side) == (8, 768, 512)
    assert sd15(0.5).channels == (160, 320, 640, 640) and sd15(0.5).heads == 4
    assert MID.side == 512


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """Of one scene, by random weights: float32 (1, c, h, w)."""
    seen = np.stack([scene(100 + number, 96)[0] for number in range(4)])
    network = random_ssp(SSPConfig(width=8, blocks=(1, 2, 4)), seen)
    with torch.no_grad():
        return network.backbone(image_tensor(scene(1, 96)[0])[None])


def test_features_of_random_weights_neither_explode_nor_look_all_alike(features) -> None:
    assert 0.1 < features.std() < 10
    cells = torch.nn.functional.normalize(features.flatten(2)[0], dim=0)
    assert (cells.T @ cells).min() < -0.2


def test_the_head_is_sure_of_most_cells() -> None:
    seen = np.stack([scene(100 + number, 96)[0] for number in range(4)])
    segmenter = SSPSegmenter(random_ssp(SSPConfig(width=8, blocks=(1, 2, 4)), seen))
    pair = scene_pair(0, 96)
    support, query = segmenter.encode([pair.image, scene(1, 96)[0]])
    segmenter.set_support([segmenter.describe(support, pair.mask)])
    probability = segmenter.segment(query)
    assert np.mean((probability > 0.7) | (probability < 0.4)) > 0.8


def test_scenes_depend_on_their_number_alone() -> None:
    image, inside = scene(5, 64)
    assert np.array_equal(image, scene(5, 64)[0]) and not np.array_equal(image, scene(6, 64)[0])
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and inside.dtype == bool
    assert 0.02 < inside.mean() < 0.4
    pair = scene_pair(5, 64)
    assert np.array_equal(pair.image, image) and np.array_equal(pair.mask, inside.astype(np.uint8))

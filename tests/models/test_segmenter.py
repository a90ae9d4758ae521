"""The segmenter protocol as SSP fulfils it: support, weights, sizes, ignored cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aligndiff.data.support import SupportPair
from aligndiff.models.segmenter import SSPSegmenter, load_segmenter
from aligndiff.models.ssp import (
    SSP,
    SSPConfig,
    foreground_probability,
    image_tensor,
    masked_average_pooling,
    ssp_logits,
)
from aligndiff.models.ssp_checkpoint import save_ssp

IGNORE = 255


@pytest.fixture(scope="module")
def network() -> SSP:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return SSP(SSPConfig(width=2, blocks=(1, 1, 2))).eval()


def random_image(seed: int, h: int = 48, w: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def random_pair(seed: int, h: int = 48, w: int = 64) -> SupportPair:
    mask = np.zeros((h, w), np.uint8)
    mask[h // 4 : h // 2 + seed, w // 4 : w // 2] = 1
    return SupportPair(f"pair {seed}", random_image(seed, h, w), mask)


def reference(network: SSP, pairs, weights, image) -> np.ndarray:
    """Each pair encoded on its own, prototypes averaged by hand."""
    with torch.no_grad():
        prototypes = []
        for value in (1, 0):
            rows = [
                masked_average_pooling(
                    network.backbone(image_tensor(pair.image)[None]),
                    torch.from_numpy(pair.mask == value)[None],
                )[0]
                for pair in pairs
            ]
            shares = torch.tensor(weights)[:, None] / sum(weights)
            prototypes.append((torch.stack(rows) * shares).sum(dim=0))
        features = network.backbone(image_tensor(image)[None])
        _, logits = ssp_logits(features, *prototypes)
        return foreground_probability(logits, image.shape[:2])[0].numpy()


@pytest.mark.parametrize("weights", [None, [0.5, 3.0, 1.5]])
def test_supports_of_different_sizes_are_encoded_on_their_own(network, weights):
    pairs = [random_pair(1), random_pair(2, 40, 56), random_pair(3, 40, 56)]
    segmenter = SSPSegmenter(network)
    segmenter.set_support(iter(pairs), weights)
    image = random_image(9)
    (got,) = segmenter.predict([image])
    assert got.dtype == np.float32 and got.shape == (48, 64)
    wanted = reference(network, pairs, weights or [1.0, 1.0, 1.0], image)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_weights_count_by_their_ratio_and_one_each(network):
    segmenter, image = SSPSegmenter(network), random_image(9)
    pairs = [random_pair(1), random_pair(2)]
    segmenter.set_support(pairs, [1.0, 3.0])
    (once,) = segmenter.predict([image])
    segmenter.set_support(pairs, [0.1, 0.3])
    np.testing.assert_allclose(segmenter.predict([image])[0], once, atol=1e-6)
    segmenter.set_support(pairs, [3.0, 1.0])
    assert np.abs(segmenter.predict([image])[0] - once).max() > 1e-6
    with pytest.raises(ValueError):
        segmenter.set_support(pairs, [1.0])


def test_ignored_cells_are_neither_object_nor_background(network):
    features = torch.arange(48.0).reshape(1, 1, 6, 8)

    class Counting(SSP):
        def backbone(self, images):
            return features.expand(len(images), self.config.feature_width, 6, 8)

    segmenter = SSPSegmenter(Counting(network.config))
    pair = random_pair(1)
    mask = np.full((48, 64), IGNORE, np.uint8)
    mask[:16, :32], mask[32:, 32:] = 1, 0
    segmenter.set_support([SupportPair("voc", pair.image, mask)])
    prototypes = segmenter._prototypes
    for prototype, value in ((prototypes.foreground, 1), (prototypes.background, 0)):
        wanted = masked_average_pooling(features, torch.from_numpy(mask == value)[None])
        torch.testing.assert_close(prototype[0], wanted[0, 0])
    assert prototypes.foreground[0] < 13 and prototypes.background[0] > 34


def test_a_pair_without_background_does_not_pull_the_background_to_zero(network):
    segmenter = SSPSegmenter(network)
    segmenter.set_support([random_pair(1)])
    before = segmenter._prototypes.background
    full = SupportPair("full", random_image(2), np.ones((48, 64), np.uint8))
    segmenter.set_support([random_pair(1), full])
    torch.testing.assert_close(segmenter._prototypes.background, before)


def test_only_full_masks_still_give_numbers(network):
    segmenter = SSPSegmenter(network)
    segmenter.set_support([SupportPair("full", random_image(2), np.ones((48, 64), np.uint8))])
    (got,) = segmenter.predict([random_image(3)])
    assert np.isfinite(got).all()


def test_a_one_pixel_object_has_a_prototype(network):
    mask = np.zeros((48, 64), np.uint8)
    mask[13, 21] = 1
    segmenter = SSPSegmenter(network)
    segmenter.set_support([SupportPair("speck", random_image(2), mask)])
    assert segmenter._prototypes.foreground.abs().sum() > 0


def test_images_of_mixed_sizes_come_back_in_order_and_the_batch_changes_nothing(network):
    images = [random_image(1), random_image(2), random_image(3, 33, 50), random_image(4)]
    answers = {}
    for batch_size in (1, 3):
        segmenter = SSPSegmenter(network, batch_size=batch_size)
        segmenter.set_support([random_pair(1), random_pair(2)])
        answers[batch_size] = segmenter.predict(images)
    for image, one, three in zip(images, answers[1], answers[3], strict=True):
        assert one.shape == image.shape[:2]
        assert 0 <= one.min() and one.max() <= 1
        np.testing.assert_allclose(one, three, atol=1e-5)


def test_a_black_image_and_a_flat_one_give_numbers(network):
    segmenter = SSPSegmenter(network)
    segmenter.set_support([random_pair(1)])
    flat = [np.full((48, 64, 3), grey, np.uint8) for grey in (0, 128)]
    assert all(np.isfinite(answer).all() for answer in segmenter.predict(flat))


def test_predict_before_set_support_says_which_call_is_missing(network):
    with pytest.raises(RuntimeError, match=r"call set_support\(pairs\) before predict"):
        SSPSegmenter(network).predict([random_image(1)])


@pytest.mark.parametrize("pairs", [[], [SupportPair("void", random_image(1), None)]])
def test_a_support_that_says_nothing_is_refused(network, pairs):
    pairs = [SupportPair(p.name, p.image, np.full((48, 64), IGNORE, np.uint8)) for p in pairs]
    with pytest.raises(ValueError, match="at least one pair"):
        SSPSegmenter(network).set_support(pairs)


def test_the_checkpoint_says_at_which_size_it_sees(network, tmp_path):
    save_ssp(network, tmp_path / "tiny.safetensors", input_side=32)
    segmenter = load_segmenter(tmp_path / "tiny.safetensors", "cpu", torch.float32)
    seen = []
    backbone = segmenter.network.backbone
    segmenter.network.backbone = lambda images: seen.append(images.shape) or backbone(images)
    segmenter.set_support([random_pair(1, 48, 64), random_pair(2, 16, 8)])
    (got,) = segmenter.predict([random_image(5, 100, 60)])
    assert seen == [(1, 3, 24, 32), (1, 3, 32, 16), (1, 3, 32, 19)]
    assert got.shape == (100, 60) and 0 <= got.min() and got.max() <= 1


def test_bfloat16_stays_near_float32(network):
    answers = []
    for dtype in (torch.float32, torch.bfloat16):
        copy = SSP(network.config)
        copy.load_state_dict(network.state_dict())
        segmenter = SSPSegmenter(copy, dtype=dtype)
        segmenter.set_support([random_pair(1)])
        (answer,) = segmenter.predict([random_image(5)])
        assert answer.dtype == np.float32
        answers.append(answer)
    assert np.abs(answers[0] - answers[1]).mean() < 0.05

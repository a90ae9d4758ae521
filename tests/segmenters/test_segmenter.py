"""The segmenter protocol as SSP fulfils it: support, weights, sizes, ignored cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aligndiff.dataset.support import SupportPair, load_support
from aligndiff.segmenters.base import feature_memory
from aligndiff.segmenters.ssp.checkpoint import load_ssp, save_ssp
from aligndiff.segmenters.ssp.network import (
    SSP,
    SSPConfig,
    foreground_probability,
    image_tensor,
    masked_average_pooling,
    ssp_logits,
)
from aligndiff.segmenters.ssp.segmenter import Prototypes, SSPSegmenter

IGNORE = 255
ROOT = Path(__file__).resolve().parents[2]


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


def taught(network: SSP, pairs, weights=None, **options) -> SSPSegmenter:
    """A segmenter that knows `pairs`."""
    segmenter = SSPSegmenter(network, **options)
    segmenter.set_support(described(segmenter, pairs), weights)
    return segmenter


def described(segmenter: SSPSegmenter, pairs) -> list[Prototypes]:
    encoded = segmenter.encode([pair.image for pair in pairs])
    return [segmenter.describe(one, pair.mask) for one, pair in zip(encoded, pairs, strict=True)]


def predict(segmenter: SSPSegmenter, images) -> list[np.ndarray]:
    return [segmenter.segment(encoded) for encoded in segmenter.encode(images)]


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
    segmenter = taught(network, pairs, weights)
    image = random_image(9)
    (got,) = predict(segmenter, [image])
    assert got.dtype == np.float32 and got.shape == (48, 64)
    wanted = reference(network, pairs, weights or [1.0, 1.0, 1.0], image)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_out_of_memory_halves_the_batch_for_good(network, memory_for, caplog):
    images = [random_image(seed) for seed in range(5)] + [random_image(9, 40, 56)]
    wanted = SSPSegmenter(network, batch_size=2).encode(images)
    segmenter = SSPSegmenter(network, batch_size=8)
    layer = segmenter.network.layer0
    sizes = []
    layer.register_forward_hook(lambda _layer, args, _out: sizes.append(len(args[0])))
    limit = memory_for(layer, 2)
    for encoded in (segmenter.encode(images), segmenter.encode(images)):
        for one, other in zip(encoded, wanted, strict=True):
            assert torch.equal(one.features, other.features) and one.size == other.size
    assert sizes == [2, 2, 1, 1] * 2
    assert caplog.messages == ["note: out of memory with 5 images at once, going on with 2"]
    limit.remove()
    memory_for(layer, 0)
    with pytest.raises(torch.OutOfMemoryError):
        segmenter.encode(images)


def test_weights_count_by_their_ratio_and_one_each(network):
    segmenter, image = SSPSegmenter(network), random_image(9)
    support = described(segmenter, [random_pair(1), random_pair(2)])
    segmenter.set_support(support, [1.0, 3.0])
    (once,) = predict(segmenter, [image])
    segmenter.set_support(support, [0.1, 0.3])
    np.testing.assert_allclose(predict(segmenter, [image])[0], once, atol=1e-6)
    segmenter.set_support(support, [3.0, 1.0])
    assert np.abs(predict(segmenter, [image])[0] - once).max() > 1e-6
    with pytest.raises(ValueError):
        segmenter.set_support(support, [1.0])


def test_ignored_cells_are_neither_object_nor_background(network):
    features = torch.arange(48.0).reshape(1, 1, 6, 8)

    class Counting(SSP):
        def backbone(self, images):
            return features.expand(len(images), self.config.feature_width, 6, 8)

    segmenter = SSPSegmenter(Counting(network.config))
    pair = random_pair(1)
    mask = np.full((48, 64), IGNORE, np.uint8)
    mask[:16, :32], mask[32:, 32:] = 1, 0
    (prototypes,) = described(segmenter, [SupportPair("voc", pair.image, mask)])
    for prototype, value in ((prototypes.foreground, 1), (prototypes.background, 0)):
        wanted = masked_average_pooling(features, torch.from_numpy(mask == value)[None])
        torch.testing.assert_close(prototype[0], wanted[0, 0])
    assert prototypes.foreground[0] < 13 and prototypes.background[0] > 34


def test_a_pair_without_background_does_not_pull_the_background_to_zero(network):
    full = SupportPair("full", random_image(2), np.ones((48, 64), np.uint8))
    segmenter = SSPSegmenter(network)
    support = described(segmenter, [random_pair(1), full])
    assert support[1].background is None
    segmenter.set_support(support[:1])
    _, before = segmenter._support
    segmenter.set_support(support)
    foreground, background = segmenter._support
    torch.testing.assert_close(background, before)
    both = torch.stack([one.foreground for one in support])
    torch.testing.assert_close(foreground, both.mean(dim=0))


def test_folded_normalisations_change_no_answer_by_1e_5():
    """On weights and statistics as training leaves them: none is 0 or 1."""
    torch.manual_seed(1)
    plain = SSP(SSPConfig(width=4, blocks=(2, 2, 3))).eval()
    for layer in plain.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.3, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.3)
    pairs, image = [random_pair(1), random_pair(2)], random_image(9)
    segmenter = taught(plain, pairs)
    kinds = {type(layer) for layer in segmenter.network.modules()}
    assert torch.nn.BatchNorm2d not in kinds and torch.nn.Identity in kinds
    wanted = reference(plain, pairs, [1.0, 1.0], image)
    assert wanted.std() > 1e-3, "a flat answer would prove nothing"
    np.testing.assert_allclose(predict(segmenter, [image])[0], wanted, atol=1e-5, rtol=0)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in plain.modules())


def test_an_image_that_is_kept_does_not_keep_its_batch(network):
    one, other = SSPSegmenter(network).encode([random_image(1), random_image(2)])
    assert one.features.untyped_storage().nbytes() == one.nbytes == other.nbytes > 0


def test_features_may_fill_a_part_of_the_free_memory(monkeypatch):
    free = {"memory": 12 * 2**30}
    monkeypatch.setattr("aligndiff.segmenters.base.free_memory", lambda device: free["memory"])
    cpu = torch.device("cpu")
    assert feature_memory(cpu) == 3 * 2**30
    for free["memory"] in (None, 2**40):
        assert feature_memory(cpu) == 4 * 2**30


def test_only_full_masks_still_give_numbers(network):
    full = SupportPair("full", random_image(2), np.ones((48, 64), np.uint8))
    (got,) = predict(taught(network, [full]), [random_image(3)])
    assert np.isfinite(got).all()


def test_a_one_pixel_object_has_a_prototype(network):
    mask = np.zeros((48, 64), np.uint8)
    mask[13, 21] = 1
    (support,) = described(SSPSegmenter(network), [SupportPair("speck", random_image(2), mask)])
    assert support.foreground.abs().sum() > 0


def test_images_of_mixed_sizes_come_back_in_order_and_the_batch_changes_nothing(network):
    images = [random_image(1), random_image(2), random_image(3, 33, 50), random_image(4)]
    answers = {}
    for batch_size in (1, 3):
        segmenter = taught(network, [random_pair(1), random_pair(2)], batch_size=batch_size)
        answers[batch_size] = predict(segmenter, images)
    for image, one, three in zip(images, answers[1], answers[3], strict=True):
        assert one.shape == image.shape[:2]
        assert 0 <= one.min() and one.max() <= 1
        np.testing.assert_allclose(one, three, atol=1e-5)


def test_a_black_image_and_a_flat_one_give_numbers(network):
    segmenter = taught(network, [random_pair(1)])
    flat = [np.full((48, 64, 3), grey, np.uint8) for grey in (0, 128)]
    assert all(np.isfinite(answer).all() for answer in predict(segmenter, flat))


def test_segment_before_set_support_says_which_call_is_missing(network):
    with pytest.raises(RuntimeError, match=r"call set_support\(support\) before segment"):
        predict(SSPSegmenter(network), [random_image(1)])


@pytest.mark.parametrize("pairs", [[], [SupportPair("void", random_image(1), None)]])
def test_a_support_that_says_nothing_is_refused(network, pairs):
    pairs = [SupportPair(p.name, p.image, np.full((48, 64), IGNORE, np.uint8)) for p in pairs]
    with pytest.raises(ValueError, match="at least one mask"):
        taught(network, pairs)


def test_the_checkpoint_says_at_which_size_it_sees(network, tmp_path):
    save_ssp(network, tmp_path / "tiny.safetensors", input_side=32)
    checkpoint = load_ssp(tmp_path / "tiny.safetensors")
    segmenter = SSPSegmenter(checkpoint.network, checkpoint.input_side)
    seen = []
    backbone = segmenter.network.backbone
    segmenter.network.backbone = lambda images: seen.append(images.shape) or backbone(images)
    segmenter.set_support(described(segmenter, [random_pair(1, 48, 64), random_pair(2, 16, 8)]))
    (got,) = predict(segmenter, [random_image(5, 100, 60)])
    assert seen == [(1, 3, 24, 32), (1, 3, 32, 16), (1, 3, 32, 19)]
    assert got.shape == (100, 60) and 0 <= got.min() and got.max() <= 1


def test_bfloat16_gives_the_masks_of_float32():
    """Of the trained tiny segmenter, on images of the example object: IoU 0.995 and more."""
    pairs = load_support(ROOT / "example_dataset" / "fish")
    masks = []
    for dtype in (torch.float32, torch.bfloat16):
        checkpoint = load_ssp(ROOT / "pretrained_weights" / "tiny_ssp.safetensors")
        segmenter = SSPSegmenter(checkpoint.network, checkpoint.input_side, dtype=dtype)
        segmenter.set_support(described(segmenter, pairs[:2]))
        encoded = segmenter.encode([pair.image for pair in pairs[2:]])
        assert {one.features.dtype for one in encoded} == {dtype}
        masks.append(np.stack([segmenter.segment(one) for one in encoded]) > 0.5)
    exact, reduced = masks
    assert 0.05 < exact.mean() < 0.6, "an empty mask would prove nothing"
    assert (exact & reduced).sum() >= 0.995 * (exact | reduced).sum()

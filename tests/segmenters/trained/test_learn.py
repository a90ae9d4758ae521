from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, SegformerConfig, SegformerForSemanticSegmentation

from aligndiff.core.errors import InputError
from aligndiff.core.weights import TINY
from aligndiff.segmenters.load import SegmenterOptions, adapt_segmenter, choose_segmenter
from aligndiff.segmenters.metrics import overlaps
from aligndiff.segmenters.trained.augment import STILL, STRONG, augment
from aligndiff.segmenters.trained.batches import (
    Batches,
    PairStack,
    Source,
    as_batch,
    stack_pairs,
)
from aligndiff.segmenters.trained.learn import (
    Budget,
    find_object,
    learn,
    segmentation_loss,
    squeezed,
)
from aligndiff.segmenters.trained.segformer import load_segformer
from aligndiff.segmenters.trained.small import SmallSegmenter, load_small, save_small

SIDE = 32
CPU, EXACT = torch.device("cpu"), torch.float32
BUDGET = Budget(steps=60, batch_size=4, rate=1e-2)


def disc(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An orange disc on noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(30, 130, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, tuple(int(at) for at in rng.integers(10, 22, 2)), 8, 1, -1)
    image[mask > 0] = (230, 120, 20)
    return image, mask


def discs(count: int = 6, first: int = 0) -> PairStack:
    return stack_pairs([disc(first + at) for at in range(count)], SIDE)


def empty(count: int = 4) -> PairStack:
    noise = np.random.default_rng(1).integers(30, 130, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return PairStack(noise, np.zeros((count, SIDE, SIDE), np.uint8))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_source_keeps_its_share_however_many_pairs_there_are() -> None:
    many, few = discs(6), empty(1)
    batches = Batches(
        [Source(many, 0.25), Source(few, 0.75)], 400, torch.Generator().manual_seed(0)
    )
    bare = (batches.draw().objects.flatten(1).sum(1) == 0).float().mean()
    assert 0.65 < bare < 0.85
    with pytest.raises(ValueError, match="no source has a pair"):
        Batches([Source(discs(0), 1.0), Source(many, 0.0)], 4, torch.Generator())


def test_the_small_network_learns_a_disc_from_nothing() -> None:
    sources = [Source(discs(), 2 / 3), Source(empty(), 1 / 3)]
    seen = discs(4, first=90)
    network = learn(SmallSegmenter((8, 8, 8, 8)), sources, STILL, BUDGET, 0, CPU, EXACT)
    found = find_object(network, seen.images, [(SIDE, SIDE)] * 4, CPU, EXACT)
    ious = [overlaps(mask, truth)[1].iou for mask, truth in zip(found, seen.masks, strict=True)]
    assert np.mean(ious) > 0.7
    larger = find_object(network, seen.images[:1], [(40, 50)], CPU, EXACT)
    assert larger[0].shape == (40, 50) and larger[0].dtype == np.bool_


def test_weights_of_other_classes_are_a_start_for_a_new_one(tmp_path: Path) -> None:
    path, pixels = tmp_path / "nine.safetensors", torch.rand(1, 3, SIDE, SIDE)
    learned = SmallSegmenter((8, 8, 16, 16), classes=9).half().float().eval()
    save_small(learned, path)
    begun = load_small(path).eval()
    with torch.no_grad():
        assert learned(pixels).shape == (1, 9, SIDE, SIDE) and begun(pixels).shape[1] == 1
        assert torch.equal(begun.stem(pixels), learned.stem(pixels))
    save_file({"stem.0.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="holds no weights of the small U-Net"):
        load_small(path)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="holds no weights of the small U-Net"):
        load_small(path)


def test_classes_move_with_their_image() -> None:
    images, masks = discs(2).images, discs(2).masks
    single = as_batch(torch.from_numpy(images), torch.from_numpy(masks))
    several = replace(single, objects=torch.cat([single.objects, 1 - single.objects], 1))
    one, two = (
        augment(batch, STRONG, torch.Generator().manual_seed(3)) for batch in (single, several)
    )
    assert torch.equal(two.objects[:, :1], one.objects)
    assert (two.objects.sum(1) == 1).all()


def test_equal_seeds_train_equal_networks() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        few = replace(BUDGET, steps=2)
        network = learn(SmallSegmenter(), [Source(discs(), 1)], STILL, few, seed, CPU, EXACT)
        return torch.cat([value.flatten() for value in network.state_dict().values()])

    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_does_not_count_does_not_count() -> None:
    logits, objects = torch.randn(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    objects[:, :, :4] = 1
    counted = torch.ones_like(objects)
    counted[:, :, :2] = 0
    changed = torch.where(counted > 0, logits, 50 * torch.randn_like(logits))
    losses = [segmentation_loss(seen, objects, counted) for seen in (logits, changed)]
    assert losses[0] == pytest.approx(losses[1].item())
    assert losses[0] != pytest.approx(segmentation_loss(logits, objects, 0 * counted + 1).item())


def test_segformer_of_a_folder_with_another_number_of_classes_learns(tmp_path: Path) -> None:
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        num_labels=150,
    )
    SegformerForSemanticSegmentation(config).save_pretrained(tmp_path)
    network = load_segformer(tmp_path, local_files_only=True)
    before = network.network.segformer.state_dict()
    known = SegformerForSemanticSegmentation.from_pretrained(tmp_path).segformer
    assert all(torch.equal(value, before[key]) for key, value in known.state_dict().items())
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 64, 64)
    learn(network, [Source(discs(), 1)], STILL, replace(BUDGET, steps=1), 0, CPU, EXACT)
    found = find_object(network, discs(2).images, [(SIDE, SIDE)] * 2, CPU, EXACT)
    assert [mask.shape for mask in found] == [(SIDE, SIDE)] * 2


def test_another_kind_of_model_is_told(tmp_path: Path) -> None:
    CLIPTextConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a clip_text_model, not a segformer; give one"):
        load_segformer(tmp_path, local_files_only=True)


def test_the_few_shot_segmenter_learns_from_the_same_sources() -> None:
    choice = choose_segmenter(SegmenterOptions(fss_ckpt_path=TINY))
    support, queries = [Source(discs(), 1)], [Source(discs(), 1 / 2), Source(empty(), 1 / 2)]
    budget, ticks = Budget(steps=2, batch_size=2), []
    segmenter = adapt_segmenter(
        choice, support, queries, STILL, budget, 0, CPU, EXACT, lambda: ticks.append(1)
    )
    assert len(ticks) == 2
    image, mask = disc(5)
    (encoded,) = segmenter.encode([image])
    segmenter.set_support([segmenter.describe(encoded, mask)])
    assert overlaps(segmenter.segment(encoded) > 0.5, mask)[1].iou > 0.5


def test_images_are_squeezed_to_a_square() -> None:
    stack = squeezed([np.zeros((20, 40, 3), np.uint8), np.zeros((64, 8, 3), np.uint8)], SIDE)
    assert stack.shape == (2, SIDE, SIDE, 3)

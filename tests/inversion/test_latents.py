"""Masks on the latent grid, posteriors of the support, and the batches drawn from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler

from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.support import SupportPair, load_support
from aligndiff.diffusion.prediction import NoiseSchedule
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.inversion.latents import (
    SupportLatents,
    encode_support,
    latent_regions,
    training_batches,
)

# Masks on the latent grid


def test_regions_are_the_nearest_pixels() -> None:
    mask = (np.random.default_rng(0).random((50, 70)) < 0.5).astype(np.uint8)
    foreground, background = latent_regions(mask, (16, 16))
    nearest = F.interpolate(torch.from_numpy(mask)[None, None].float(), size=(16, 16))[0, 0]
    assert torch.equal(foreground, nearest > 0.3)
    assert torch.equal(background, ~foreground)


def test_regions_leave_ignored_cells_out() -> None:
    mask = np.array([[1, 255], [255, 0]], np.uint8).repeat(4, 0).repeat(4, 1)
    foreground, background = latent_regions(mask, (2, 2))
    assert foreground.tolist() == [[True, False], [False, False]]
    assert background.tolist() == [[False, False], [False, True]]


def test_small_object_owns_the_cell_it_covers_most() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[10:13, 6:11] = 1  # over cells 0 and 1 of a row of 8 px cells, no nearest pixel hit
    foreground, background = latent_regions(mask, (8, 8))
    assert foreground.nonzero().tolist() == [[1, 1]]
    assert background.sum() == 63 and not background[1, 1]


# Latents of the support


def test_support_is_encoded_once_with_its_flip_in_float32(tiny_pipeline_dir: Path) -> None:
    pipe = load_pipeline(ModelChoice("small", tiny_pipeline_dir, "test"), "cpu", torch.bfloat16)
    rng = np.random.default_rng(0)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 4:24] = 1
    pair = SupportPair("1", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), mask)
    mirrored = SupportPair("1", pair.image[:, ::-1].copy(), mask[:, ::-1].copy())
    both = encode_support(pipe, [pair, mirrored], 64)
    assert both.pairs == 2 and both.grid == (4, 16, 16)
    for name in ("mean", "std", "foreground", "background"):
        tensor = getattr(both, name)
        assert torch.equal(tensor[0, 1], tensor[1, 0]), name
        assert not torch.equal(tensor[0, 0], tensor[0, 1]), name
    assert both.mean.dtype == both.std.dtype == torch.float32
    assert pipe.vae.dtype == torch.bfloat16
    pixels = torch.from_numpy(pair.image).permute(2, 0, 1)[None] / 127.5 - 1
    posterior = pipe.vae.float().encode(pixels).latent_dist
    assert torch.allclose(both.mean[0, 0], posterior.mean[0] * 0.18215, atol=1e-5)
    assert torch.allclose(both.std[0, 0], posterior.std[0] * 0.18215, atol=1e-5)


def test_support_of_any_size_is_one_batch(tiny_pipeline_dir: Path, dataset_template: Path) -> None:
    pipe = load_pipeline(ModelChoice("small", tiny_pipeline_dir, "test"), "cpu", torch.float32)
    support = encode_support(pipe, load_support(dataset_template / "fish"), 64)
    assert support.mean.shape == (3, 2, 4, 16, 16)
    assert support.foreground.shape == (3, 2, 16, 16)
    assert support.foreground.flatten(2).any(-1).all() and not support.mean.requires_grad


def fake_support(pairs: int) -> SupportLatents:
    """Posteriors without spread whose mean, and masks whose first row, name their view."""
    views = torch.arange(2.0 * pairs).view(pairs, 2, 1, 1, 1).expand(-1, -1, 1, 8, 8)
    foreground = torch.arange(8) <= views[:, :, 0]
    return SupportLatents(views, torch.zeros_like(views), foreground, ~foreground)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_batches_keep_image_mask_and_target_together(kind: str) -> None:
    schedule = DDPMScheduler(prediction_type=kind)
    generator = torch.Generator().manual_seed(0)
    levels = NoiseSchedule(schedule, flow=False)
    batches = list(training_batches(fake_support(3), levels, 30, 4, generator))
    seen = []
    for batch in batches:
        alpha = schedule.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
        view = batch.foreground[:, 0].sum(-1) - 1
        latent = view.view(-1, 1, 1, 1) * torch.ones(1, 1, 8, 8)
        noise = (batch.noisy - alpha.sqrt() * latent) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latent
        target = noise if kind == "epsilon" else velocity
        assert torch.allclose(batch.target, target, atol=2e-3)
        assert torch.equal(batch.background, ~batch.foreground)
        seen += view.tolist()
    assert len(batches) == 30 and len(seen) == 120
    assert [sum(v // 2 == pair for v in seen) for pair in range(3)] == [40, 40, 40]
    assert 40 < sum(v % 2 for v in seen) < 80


def test_pairs_are_encoded_one_by_one(tiny_pipeline_dir: Path, dataset_template: Path) -> None:
    """An iterator of pairs will do, which frees each before it reads the next."""
    pipe = load_pipeline(ModelChoice("small", tiny_pipeline_dir, "test"), "cpu", torch.float32)
    pairs = load_support(dataset_template / "fish")
    support = encode_support(pipe, iter(pairs), 64)
    alone = [encode_support(pipe, [pair], 64) for pair in pairs]
    for name in ("mean", "std", "foreground", "background"):
        each = torch.cat([getattr(one, name) for one in alone])
        assert torch.equal(getattr(support, name), each), name

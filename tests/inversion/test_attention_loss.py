"""The attention loss: the heatmap is drawn to the object's mask while the vectors learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.support import load_support
from aligndiff.diffusion.attention import AttentionTap
from aligndiff.diffusion.heatmaps import fuse_heatmap
from aligndiff.diffusion.pipeline import family_of
from aligndiff.diffusion.prediction import NoiseSchedule, predicting
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.prompts import encode
from aligndiff.diffusion.vectors import Embedding
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.latents import SupportLatents, encode_support, fixed_batch
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.loss import attention_loss
from aligndiff.inversion.templates import training_texts
from tests.families import tiny_family

TEXTS = training_texts("fish", vectors=1)
SHORT = InversionConfig(
    inversion_steps=12, inversion_train_bs=2, gradient_accumulation=1, inversion_lr=0.1
)


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice("tiny", tiny_pipeline_dir, "test"), "cpu", torch.float32)


@pytest.fixture
def support(pipe: StableDiffusionPipeline, dataset_template: Path) -> SupportLatents:
    return encode_support(pipe, load_support(dataset_template / "fish"), 64)


def silent(count: int = 1, category: str = "", *, status: str = "") -> None:
    pass


def learn(
    pipe: StableDiffusionPipeline, support: SupportLatents, config: InversionConfig
) -> tuple[Embedding, list[float]]:
    generator = torch.Generator().manual_seed(5)
    return learn_vectors(pipe, TEXTS, support, config, 0.6, generator, silent)


@torch.no_grad()
def seen(
    pipe: StableDiffusionPipeline, support: SupportLatents, embedding: Embedding
) -> tuple[float, float]:
    """The attention loss, and the IoU of mask and heatmap, as large, on other noise."""
    prompt = encode(pipe, TEXTS.prompts[0], embedding, category="fish")
    schedule = NoiseSchedule(pipe.scheduler, family_of(pipe).flow)
    batch = fixed_batch(support, schedule, 6, torch.Generator().manual_seed(99))
    with (
        AttentionTap(pipe, prompt.token_indices, 6, (64, 64)) as tap,
        predicting(pipe) as predict,
    ):
        predict(prompt, batch.noisy, batch.timesteps)
    heatmaps = fuse_heatmap(tap.maps(), (16, 16))
    loss = attention_loss(heatmaps, batch.foreground, batch.background)
    ious = []
    for heatmap, mask in zip(heatmaps, batch.foreground, strict=True):
        hard = heatmap >= heatmap.flatten().topk(int(mask.sum())).values[-1]
        ious.append(((hard & mask).sum() / (hard | mask).sum()).item())
    return loss.item(), sum(ious) / len(ious)


def test_it_draws_the_heatmap_to_the_mask(
    pipe: StableDiffusionPipeline, support: SupportLatents
) -> None:
    plain, losses = learn(pipe, support, SHORT)
    drawn, others = learn(pipe, support, replace(SHORT, attention_loss=10.0))
    (loss, iou), (lower, higher) = seen(pipe, support, plain), seen(pipe, support, drawn)
    assert lower < 0.95 * loss and higher > iou
    assert others[0] == losses[0], "the loss that is kept is Eq. 3 alone"


def test_next_to_nothing_of_it_changes_no_bit(
    pipe: StableDiffusionPipeline, support: SupportLatents
) -> None:
    """The heatmaps are recorded with a gradient, and the vectors learn what they would without."""
    short = replace(SHORT, inversion_steps=2)
    plain, losses = learn(pipe, support, short)
    drawn, others = learn(pipe, support, replace(short, attention_loss=1e-30))
    assert torch.equal(plain.vectors["text_encoder"], drawn.vectors["text_encoder"])
    assert losses == others


def test_the_loss_by_hand() -> None:
    heatmap = torch.tensor([[[1.0, 0.5], [0.25, 9.0]]])
    foreground = torch.tensor([[[True, False], [True, False]]])
    background = torch.tensor([[[False, True], [False, False]]])  # the last position is ignored
    expected = (0.0**2 + 0.5**2 + 0.75**2) / 3
    assert attention_loss(heatmap, foreground, background).item() == pytest.approx(expected)


def test_it_excludes_checkpointing() -> None:
    with pytest.raises(InputError, match="--attention_loss: not with --gradient_checkpointing"):
        InversionConfig(attention_loss=1.0, gradient_checkpointing=True)


@pytest.mark.parametrize("kind", ["StableDiffusionXLPipeline", "FluxPipeline", "SanaPipeline"])
def test_its_gradient_reaches_the_vectors_of_other_families(
    kind: str, dataset_template: Path
) -> None:
    """Two text encoders, joint attention, a transformer whose keys are longer than CLIP's."""
    pipe = tiny_family(kind)
    support = encode_support(pipe, load_support(dataset_template / "fish")[:1], 64)
    short = replace(SHORT, inversion_steps=1)
    texts = training_texts("dog", vectors=1)
    found = []
    for weight in (0.0, 100.0):
        config, generator = replace(short, attention_loss=weight), torch.Generator().manual_seed(5)
        run = learn_vectors(pipe, texts, support, config, 0.6, generator, silent)
        found.append(run[0].vectors)
    plain, drawn = found
    assert all(vectors.isfinite().all() for vectors in drawn.values())
    assert any(not torch.equal(plain[name], drawn[name]) for name in plain)

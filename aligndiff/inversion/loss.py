"""Eq. 3 of the paper, the normalized masked loss of textual inversion, and the attention loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from aligndiff.diffusion.attention import AttentionTap
from aligndiff.diffusion.heatmaps import fuse_heatmap
from aligndiff.diffusion.latents import prediction_form
from aligndiff.diffusion.prediction import Predict
from aligndiff.diffusion.prompts import EncodedPrompt
from aligndiff.inversion.latents import Batch

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def normalized_masked_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    foreground: torch.Tensor,
    background: torch.Tensor,
    bg_lambda: float,
) -> torch.Tensor:
    """Eq. 3: the error over the object + `bg_lambda` times that over the rest, each by its area.

    prediction, target: (b, c, h, w), or (b, ...) in whatever order a model packs them, any float
    dtype. foreground, background: bool (b, h, w), or of the prediction's shape, each sample's own;
    positions in neither are ignored. A region without positions contributes 0. Returns a float32
    scalar, the mean over the batch.
    """
    error = (prediction.float() - target.float()).square()
    if foreground.shape != error.shape:
        error = error.mean(dim=1)
    loss = _region_mean(error, foreground) + bg_lambda * _region_mean(error, background)
    return loss.mean()


def _region_mean(error: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Mean of `error` (b, ...) over each sample's bool `region` (b, ...): (b,); 0 if empty."""
    # Filled, not multiplied: an infinite error outside the region times 0 would be NaN.
    total = error.masked_fill(~region, 0).flatten(1).sum(1)
    return total / region.flatten(1).sum(1).clamp(min=1)


def batch_loss(
    pipe: DiffusionPipeline,
    predict: Predict,
    batch: Batch,
    prompt: EncodedPrompt,
    bg_lambda: float,
) -> torch.Tensor:
    """Eq. 3 of one batch under one prompt: a float32 scalar."""
    prediction = predict(prompt, batch.noisy, batch.timesteps)
    target, foreground, background = batch.target, batch.foreground, batch.background
    if prediction.shape != target.shape:  # packed: the mask as the latents are
        sides = (side[:, None].expand_as(target) for side in (foreground, background))
        foreground, background = (prediction_form(pipe, side) for side in sides)
        target = prediction_form(pipe, target)
    return normalized_masked_loss(prediction, target, foreground, background, bg_lambda)


def attention_loss(
    heatmaps: torch.Tensor, foreground: torch.Tensor, background: torch.Tensor
) -> torch.Tensor:
    """Squared error between heatmaps and masks, as in Break-A-Scene (Avrahami et al., 2023).

    heatmaps: float32 (b, h, w), at most 1. foreground, background: bool (b, h, w); positions in
    neither are ignored. Returns a float32 scalar, the mean over the batch.
    """
    error = (heatmaps - foreground.float()).square()
    return _region_mean(error, foreground | background).mean()


def batch_losses(
    pipe: DiffusionPipeline,
    predict: Predict,
    batch: Batch,
    prompt: EncodedPrompt,
    bg_lambda: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 3 and the attention loss of a batch, float32 scalars; the heatmaps are step 2's.

    The prompt must know its `token_indices`.
    """
    grid = (batch.noisy.shape[-2], batch.noisy.shape[-1])
    scale = int(pipe.vae_scale_factor)
    size = (grid[0] * scale, grid[1] * scale)
    with AttentionTap(pipe, prompt.token_indices, len(batch.noisy), size) as tap:
        loss = batch_loss(pipe, predict, batch, prompt, bg_lambda)
    heatmaps = fuse_heatmap(tap.maps(), grid)
    return loss, attention_loss(heatmaps, batch.foreground, batch.background)

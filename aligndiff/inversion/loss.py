"""Eq. 3 of the paper: the normalized masked loss of textual inversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from aligndiff.inversion.latents import Batch

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


def normalized_masked_loss(
    prediction: torch.Tensor,
    target: torch.Tensor,
    foreground: torch.Tensor,
    background: torch.Tensor,
    bg_lambda: float,
) -> torch.Tensor:
    """Eq. 3: the error over the object + `bg_lambda` times that over the rest, each by its area.

    prediction, target: (b, c, h, w), any float dtype. foreground, background: bool (b, h, w), each
    sample's own; positions in neither are ignored. A region without positions contributes 0.
    Returns a float32 scalar, the mean over the batch.
    """
    error = (prediction.float() - target.float()).square().mean(dim=1)
    loss = _region_mean(error, foreground) + bg_lambda * _region_mean(error, background)
    return loss.mean()


def _region_mean(error: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Mean of `error` (b, h, w) over each sample's bool `region` (b, h, w): (b,); 0 if empty."""
    # Filled, not multiplied: an infinite error outside the region times 0 would be NaN.
    total = error.masked_fill(~region, 0).sum(dim=(1, 2))
    return total / region.sum(dim=(1, 2)).clamp(min=1)


def batch_loss(
    unet: UNet2DConditionModel, batch: Batch, text: torch.Tensor, bg_lambda: float
) -> torch.Tensor:
    """Eq. 3 of one batch under one prompt, `text` (1, 77, d): a float32 scalar."""
    states = text.expand(len(batch.noisy), -1, -1)
    noisy = batch.noisy.to(unet.dtype)
    prediction = unet(noisy, batch.timesteps, encoder_hidden_states=states, return_dict=False)[0]
    return normalized_masked_loss(
        prediction, batch.target, batch.foreground, batch.background, bg_lambda
    )

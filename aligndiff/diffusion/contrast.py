"""Which of an image's regions show a prompt rather than others: by the error of denoising them.

Li et al., "Your Diffusion Model is Secretly a Zero-Shot Classifier" (ICCV 2023), region by region:
a fish is denoised better under "a photo of a fish" than under other words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aligndiff.diffusion.latents import encode_images, prediction_form, vae_in_float32
from aligndiff.diffusion.pipeline import family_of
from aligndiff.diffusion.prediction import NoiseSchedule, predicting
from aligndiff.diffusion.prompts import EncodedPrompt

# Of all noise levels: enough to hide what a thing is, not where it is. Each is one draw of noise.
LEVELS = (0.4, 0.4, 0.6, 0.6)
SEED = 0  # of the noise, the same for every image and prompt


@torch.no_grad()
def denoising_contrasts(
    pipe: Any,
    image: NDArray[np.uint8],
    regions: Sequence[NDArray[np.bool_]],
    own: EncodedPrompt,
    others: Sequence[EncodedPrompt],
) -> list[float]:
    """How much larger each region's error is under `others`, on average, than under `own`.

    As a share of the error under `own`: above 0 where `own` explains the region better. `image` is
    uint8 (h, w, 3), of sides that the model can draw; `regions` are bool (h, w).
    """
    schedule = NoiseSchedule(pipe.scheduler, family_of(pipe).flow)
    with vae_in_float32(pipe):
        latents, _ = encode_images(pipe, image[None])
    weights = [_on_latents(pipe, region, latents) for region in regions]
    generator = torch.Generator().manual_seed(SEED)
    errors = np.zeros((1 + len(others), len(regions)))
    with predicting(pipe) as predict:
        for share in LEVELS:
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            levels = torch.tensor([int(share * (schedule.steps - 1))], device=latents.device)
            noisy, times = schedule.noised(latents, noise, levels), schedule.timesteps(levels)
            target = schedule.target(latents, noise, levels)
            for row, prompt in zip(errors, (own, *others), strict=True):
                error = _squared_error(pipe, predict(prompt, noisy, times), target)
                row += [float((error * weight).sum()) for weight in weights]
    mine, rest = errors[0], errors[1:].mean(0)
    return [float(value) for value in (rest - mine) / np.maximum(mine, 1e-12)]


def _on_latents(pipe: Any, region: NDArray[np.bool_], latents: Tensor) -> Tensor:
    """A region's share of every latent, of sum 1, in the form of a prediction."""
    h, w = latents.shape[-2:]
    share = cv2.resize(region.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
    weight = torch.from_numpy(share).to(latents.device).expand(latents.shape)
    weight = prediction_form(pipe, weight.contiguous())
    return weight / weight.sum().clamp(min=1e-12)


def _squared_error(pipe: Any, prediction: Tensor, target: Tensor) -> Tensor:
    if prediction.shape != target.shape:
        target = prediction_form(pipe, target)
    return (prediction.float() - target.float()).square()

"""Latents: what a VAE makes of images, and the form in which a pipeline takes them.

Everywhere in the project latents are (n, c, h, w), normalised as the denoiser expects them; a
pipeline may take them packed, two by two positions in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from aligndiff.diffusion.pipeline import denoiser, family_of, latent_grid

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@torch.no_grad()
def encode_images(pipe: Any, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the latents of images, uint8 (n, H, W, 3): float32 (n, c, h, w) each.

    The VAE must be in float32 (`vae_in_float32`).
    """
    vae = pipe.vae
    pixels = torch.from_numpy(images).to(pipe.device).permute(0, 3, 1, 2).float() / 127.5 - 1
    of_videos = hasattr(vae.config, "temperal_downsample")  # images are videos of one frame
    code = vae.encode(pixels[:, :, None] if of_videos else pixels)
    if hasattr(code, "latent_dist"):
        mean, std = code.latent_dist.mean, code.latent_dist.std
    else:
        mean, std = code.latent, torch.zeros_like(code.latent)
    if of_videos:
        mean, std = mean[:, :, 0], std[:, :, 0]
    return _normalised(pipe, mean, std)


def _normalised(pipe: Any, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """By the constants of the VAE's configuration, or, patch by patch, its running statistics."""
    vae, config = pipe.vae, pipe.vae.config
    if _is_patched(pipe):
        norm = vae.bn
        scale = (norm.running_var + config.batch_norm_eps).rsqrt().view(1, -1, 1, 1)
        mean = (pipe._patchify_latents(mean) - norm.running_mean.view(1, -1, 1, 1)) * scale
        std = pipe._patchify_latents(std) * scale
        return pipe._unpatchify_latents(mean), pipe._unpatchify_latents(std)
    if getattr(config, "latents_mean", None) is not None and config.latents_std is not None:
        shift, scale = (mean.new_tensor(v) for v in (config.latents_mean, config.latents_std))
        scale = scale.view(1, -1, 1, 1)
        return (mean - shift.view(1, -1, 1, 1)) / scale, std / scale
    offset = getattr(config, "shift_factor", None) or 0.0
    return (mean - offset) * config.scaling_factor, std * config.scaling_factor


@contextmanager
def vae_in_float32(pipe: Any) -> Iterator[None]:
    """The VAE in float32 while open, and put back to its own dtype."""
    dtype = pipe.vae.dtype
    # By Module.to: the library's own would warn of something that is undone below.
    nn.Module.to(pipe.vae, torch.float32)
    try:
        yield
    finally:
        nn.Module.to(pipe.vae, dtype)


def pipeline_form(pipe: Any, latents: Tensor) -> Tensor:
    """(n, c, h, w) as the pipeline's call takes it for `latents`; in the type that it works in."""
    kept = torch.float32 if family_of(pipe).float32_latents else denoiser(pipe).dtype
    latents = latents.to(kept)
    return pipe._patchify_latents(latents) if _is_patched(pipe) else prediction_form(pipe, latents)


def prediction_form(pipe: Any, latents: Tensor) -> Tensor:
    """(n, c, h, w) of any type as it comes to the pipeline's scheduler."""
    if _is_patched(pipe):
        return pipe._pack_latents(pipe._patchify_latents(latents))
    if hasattr(pipe, "_pack_latents"):
        return pipe._pack_latents(latents, *latents.shape)
    return latents


def _is_patched(pipe: Any) -> bool:
    """Whether the VAE's latents are normalised patch by patch (FLUX.2)."""
    return hasattr(pipe.vae, "bn")


def initial_noise(
    pipe: DiffusionPipeline, generators: Sequence[Generator], size: tuple[int, int]
) -> Tensor:
    """What to start from, as the pipeline takes it, one CPU generator per sample.

    Drawn in float32 on the CPU, so that a sample starts alike on any device at any precision.
    """
    shape = (1, latent_channels(pipe), *latent_grid(pipe, size))
    noise = [torch.randn(shape, generator=generator) for generator in generators]
    return pipeline_form(pipe, torch.cat(noise).to(pipe.device))


def latent_channels(pipe: Any) -> int:
    """How many channels latents have."""
    config = pipe.vae.config
    return int(getattr(config, "latent_channels", None) or config.z_dim)

"""What a model sees in a given image: attention in one pass over the image with some noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from aligndiff.diffusion.attention import AttentionTap, layer_grids
from aligndiff.diffusion.latents import encode_images, vae_in_float32
from aligndiff.diffusion.pipeline import family_of
from aligndiff.diffusion.prediction import NoiseSchedule, predicting
from aligndiff.diffusion.prompts import EncodedPrompt

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# Of the noise levels: the outline is still open, so that the layers look for the object.
NOISE = 0.4
SMALLEST = 1e-9  # range of a map; a flat one stays flat
# Numbers of image-to-image attention at once: 64 x 64 positions squared, for one image.
MOST_SCORES = 2**24


@dataclass(frozen=True)
class AttentionMaps:
    """What is seen in images, on the model's latent grid.

    Attributes:
        heads: float32 (n, heads of all layers, h, w): attention of positions to the category,
            each map scaled to [0, 1].
        image: float32 (n, p, p): of positions to each other, rows sum to 1, on the grid (h', w')
            of `image_grid`, p = h' w'.
        image_grid: (h', w').
    """

    heads: Tensor
    image: Tensor
    image_grid: tuple[int, int]


@torch.no_grad()
def look_at(
    pipe: DiffusionPipeline,
    prompt: EncodedPrompt,
    images: NDArray[np.uint8],
    seeds: Sequence[int],
    draws: int = 1,
) -> AttentionMaps:
    """Show the model images, uint8 (n, h, w, 3), with noise; the mean over `draws` of it.

    An image's noise follows from its seed alone, drawn on the CPU.
    """
    size = images.shape[1], images.shape[2]
    layer = _last_layer(pipe, size)
    height, width = layer_grids(pipe, size)[layer]
    at_once = max(1, MOST_SCORES // (height * width) ** 2)
    parts = [
        _look_at_some(
            pipe, prompt, images[at : at + at_once], seeds[at : at + at_once], draws, layer
        )
        for at in range(0, len(images), at_once)
    ]
    heads = torch.cat([part.heads for part in parts])
    return AttentionMaps(heads, torch.cat([part.image for part in parts]), parts[0].image_grid)


def _look_at_some(
    pipe: DiffusionPipeline,
    prompt: EncodedPrompt,
    images: NDArray[np.uint8],
    seeds: Sequence[int],
    draws: int,
    layer: str,
) -> AttentionMaps:
    size = images.shape[1], images.shape[2]
    with vae_in_float32(pipe):
        latents, _ = encode_images(pipe, images)
    schedule = NoiseSchedule(pipe.scheduler, family_of(pipe).flow)
    levels = torch.full((len(images),), round(NOISE * schedule.steps), device=latents.device)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    tap = AttentionTap(
        pipe, prompt.token_indices, len(images), size, per_head=True, image_layers=[layer]
    )
    with tap, predicting(pipe) as predict:
        for _ in range(draws):
            noise = [torch.randn(latents.shape[1:], generator=own) for own in generators]
            noisy = schedule.noised(latents, torch.stack(noise).to(latents.device), levels)
            predict(prompt, noisy, schedule.timesteps(levels))
    sums = tap.layers[layer]
    assert sums.image is not None
    return AttentionMaps(_scaled_heads(tap), sums.image / sums.calls, sums.grid)


def _scaled_heads(tap: AttentionTap) -> Tensor:
    """Every head of every layer on the finest grid: float32 (n, heads, h, w) in [0, 1]."""
    grid = max((sums.grid for sums in tap.layers.values()), key=lambda sides: sides[0] * sides[1])
    maps = []
    for sums in tap.layers.values():
        if sums.text is None:
            continue
        coarse = (sums.text.mean(2) / sums.calls).unflatten(-1, sums.grid)
        fine = functional.interpolate(coarse, size=grid, mode="bicubic")
        fine = fine - fine.amin((-2, -1), keepdim=True)
        maps.append(fine / fine.amax((-2, -1), keepdim=True).clamp_min(SMALLEST))
    return torch.cat(maps, 1)


def _last_layer(pipe: DiffusionPipeline, size: tuple[int, int]) -> str:
    """The last layer on the finest grid in which image positions look at each other."""
    grids = layer_grids(pipe, size)
    finest = max(grids.values(), key=lambda sides: sides[0] * sides[1])
    names = [name for name, grid in grids.items() if grid == finest]
    of_image = [name for name in names if not name.endswith("attn2")]
    return sorted(of_image, key=lambda name: (not name.startswith("down"), names.index(name)))[-1]

"""Images of a pipeline with heatmaps and without: what every other check draws and compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from aligndiff.core.errors import AlignDiffError
from aligndiff.dataset.entries import TextEntry
from aligndiff.diffusion.sampling import (
    EncodedPrompt,
    GeneratedSample,
    SamplerSettings,
    encode_entry,
    generate,
    initial_noise,
)

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

ENTRY = TextEntry(type="text", category="fish", D_good_dir="fish", text="a photo of a fish")
GUIDANCE = 4.0


def recorded(
    pipe: StableDiffusionPipeline, seeds: Sequence[int], settings: SamplerSettings
) -> list[GeneratedSample]:
    """One batch by step 2. Raises AlignDiffError where the model produced NaN."""
    samples = generate(pipe, encoded(pipe), seeds, settings)
    good = [sample for sample in samples if sample is not None]
    if len(good) < len(samples):
        raise AlignDiffError(f"{len(samples) - len(good)} of {len(samples)} images are NaN")
    return good


def encoded(pipe: StableDiffusionPipeline) -> EncodedPrompt:
    return encode_entry(pipe, ENTRY)


def plain(
    pipe: StableDiffusionPipeline, seeds: Sequence[int], settings: SamplerSettings
) -> NDArray[np.uint8]:
    """The same batch by diffusers alone, uint8 (n, h, w, 3)."""
    height, width = settings.size
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    prompt = encoded(pipe)
    images: Any = pipe(
        prompt_embeds=prompt.conditional.expand(len(seeds), -1, -1),
        negative_prompt_embeds=prompt.unconditional.expand(len(seeds), -1, -1),
        latents=initial_noise(pipe, generators, settings.size),
        generator=generators,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        height=height,
        width=width,
        output_type="pt",
    ).images
    pixels = images.float().nan_to_num().permute(0, 2, 3, 1) * 255
    return pixels.round().to(torch.uint8).cpu().numpy()


def grey_difference(
    one: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    other: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
) -> float:
    """Mean difference in grey levels of images of one shape."""
    return float(np.abs(np.stack([*one]).astype(int) - np.stack([*other])).mean())

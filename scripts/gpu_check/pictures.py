"""Images of a pipeline with heatmaps and without: what every other check draws and compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aligndiff.core.errors import AlignDiffError
from aligndiff.dataset.entries import TextEntry
from aligndiff.diffusion.latents import initial_noise
from aligndiff.diffusion.prompts import EncodedPrompt, call_arguments
from aligndiff.diffusion.sampling import (
    GeneratedSample,
    SamplerSettings,
    draw,
    encode_entry,
    generate,
)

ENTRY = TextEntry(type="text", category="fish", D_good_dir="fish", text="a photo of a fish")
GUIDANCE = 4.0
Pixels = NDArray[np.uint8]


def recorded(pipe: Any, seeds: Sequence[int], settings: SamplerSettings) -> list[GeneratedSample]:
    """One batch by step 2. Raises AlignDiffError where the model produced NaN."""
    samples = generate(pipe, encoded(pipe), seeds, settings)
    good = [sample for sample in samples if sample is not None]
    if len(good) < len(samples):
        raise AlignDiffError(f"{len(samples) - len(good)} of {len(samples)} images are NaN")
    return good


def encoded(pipe: Any) -> EncodedPrompt:
    return encode_entry(pipe, ENTRY)


def plain(pipe: Any, seeds: Sequence[int], settings: SamplerSettings) -> Pixels:
    """The same batch by diffusers alone, texts and all, uint8 (n, h, w, 3)."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    prompt = EncodedPrompt(ENTRY.prompt([]))
    images = pipe(
        **call_arguments(pipe, prompt, len(seeds), settings.size, settings.guidance_scale),
        latents=initial_noise(pipe, generators, settings.size),
        generator=generators,
        num_inference_steps=settings.num_inference_steps,
        output_type="pt",
    ).images
    return _pixels(images)


def without_heatmaps(
    pipe: Any, prompt: EncodedPrompt, seeds: Sequence[int], settings: SamplerSettings
) -> Pixels:
    """The plain call with texts that are encoded already, as in step 2: what recording adds to."""
    return _pixels(draw(pipe, prompt, seeds, settings))


def _pixels(images: torch.Tensor) -> Pixels:
    """uint8 (n, h, w, 3) of (n, 3, h, w) in [0, 1]."""
    pixels = images.float().nan_to_num().permute(0, 2, 3, 1) * 255
    return pixels.round().to(torch.uint8).cpu().numpy()


def grey_difference(one: Pixels | Sequence[Pixels], other: Pixels | Sequence[Pixels]) -> float:
    """Mean difference in grey levels of images of one shape."""
    return float(np.abs(np.stack([*one]).astype(int) - np.stack([*other])).mean())

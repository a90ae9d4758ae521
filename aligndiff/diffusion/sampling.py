"""Generating samples with their heatmaps: one pipeline call for a batch of one prompt."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from aligndiff.core.device import free_memory
from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.diffusion.attention import AttentionRecorder, fuse_heatmap, heatmap_to_uint8
from aligndiff.diffusion.stable_diffusion import (
    add_placeholders,
    check_width,
    encode_prompt,
    image_size,
    set_placeholder_vectors,
)
from aligndiff.diffusion.tokens import category_token_indices

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

    from aligndiff.dataset.entries import Entry


# What an image takes while it is drawn, for every pixel and every byte of a number: 2 GiB for
# 512 px in 16 bits. An estimate on the safe side, twice what Stable Diffusion's layers add up to.
BYTES_PER_PIXEL = 4096
MOST_AT_ONCE = {"cuda": 16, "cpu": 8}  # beyond these an image hardly costs less
USUALLY_AT_ONCE = 4  # where nothing tells the free memory


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as the UNet takes it: float (1, 77, d) each, and the category's token indices."""

    conditional: Tensor
    unconditional: Tensor
    token_indices: tuple[int, ...]


@dataclass(frozen=True)
class GeneratedSample:
    """What one sample is made of: uint8 (h, w, 3) and uint8 (h, w)."""

    image: NDArray[np.uint8]
    heatmap: NDArray[np.uint8]


@dataclass(frozen=True)
class SamplerSettings:
    """How to draw: UNet steps, guidance scale (1 or less: none), image (h, w) in pixels."""

    num_inference_steps: int
    guidance_scale: float
    size: tuple[int, int]


def encode_entry(
    pipe: StableDiffusionPipeline,
    entry: Entry,
    vectors: Tensor | None = None,
    negative_prompt: str = "",
) -> EncodedPrompt:
    """Encode an entry's prompt once for all of its samples; the rest as in `encode_prompts`."""
    tokens = [] if vectors is None else placeholder_tokens(len(vectors))
    return encode_prompts(pipe, entry.prompt(tokens), entry.category, vectors, negative_prompt)


@torch.no_grad()
def encode_prompts(
    pipe: StableDiffusionPipeline,
    prompt: str,
    category: str,
    vectors: Tensor | None = None,
    negative_prompt: str = "",
) -> EncodedPrompt:
    """Encode a prompt that contains `category`, and the one that guidance leads away from.

    `vectors`, float (n, d), are those of a learned embedding, whose tokens the prompt spells out;
    None without one. Raises InputError when the category is not in the prompt.
    """
    if vectors is not None:
        check_width(vectors, pipe)
        set_placeholder_vectors(pipe, add_placeholders(pipe, len(vectors)), vectors)
    return EncodedPrompt(
        conditional=encode_prompt(pipe, prompt),
        unconditional=encode_prompt(pipe, negative_prompt),
        token_indices=tuple(category_token_indices(pipe.tokenizer, prompt, category)),
    )


def generation_size(pipe: StableDiffusionPipeline, side: Sequence[int]) -> tuple[int, int]:
    """(h, w) in pixels from no number (the model's own), one (the side) or two (h, w).

    Raises InputError for a size that the model cannot draw.
    """
    sides = tuple(side) or (image_size(pipe),)
    step = max(8, pipe.vae_scale_factor)  # the pipeline takes multiples of 8 only
    if any(side % step for side in sides):
        raise InputError(f"--side: must be a multiple of {step} px with this diffusion model")
    return sides[0], sides[-1]


def generate(
    pipe: StableDiffusionPipeline,
    prompt: EncodedPrompt,
    seeds: Sequence[int],
    settings: SamplerSettings,
) -> list[GeneratedSample | None]:
    """Generate one sample per seed in one batch; None where the model produced NaN.

    A sample depends on its prompt and its seed, not on the batch it is in (to about 1e-6).
    """
    count, scale = len(seeds), pipe.vae_scale_factor
    height, width = settings.size
    generators = [Generator("cpu").manual_seed(seed) for seed in seeds]
    recorder = AttentionRecorder(
        pipe.unet, prompt.token_indices, samples=count, grid=(height // scale, width // scale)
    )
    with recorder:
        images = pipe(
            prompt_embeds=prompt.conditional.expand(count, -1, -1),
            negative_prompt_embeds=prompt.unconditional.expand(count, -1, -1),
            latents=initial_noise(pipe, generators, settings.size),
            generator=generators,  # for schedulers that add noise on their way
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            height=height,
            width=width,
            output_type="pt",
        ).images
    heatmaps = fuse_heatmap(recorder.maps(), settings.size)
    return _to_samples(images.float(), heatmaps)


def initial_noise(
    pipe: StableDiffusionPipeline, generators: Sequence[Generator], size: tuple[int, int]
) -> Tensor:
    """Latents to start from, (n, c, h, w) in the UNet's type, one CPU generator per sample.

    Drawn in float32 on the CPU, so that a sample starts alike on any device at any precision.
    """
    grid = [side // pipe.vae_scale_factor for side in size]
    shape = (1, pipe.unet.config.in_channels, *grid)
    noise = [torch.randn(shape, generator=generator) for generator in generators]
    return torch.cat(noise).to(pipe.unet.device, pipe.unet.dtype)


def _to_samples(images: Tensor, heatmaps: Tensor) -> list[GeneratedSample | None]:
    """From float32 (n, 3, h, w) in [0, 1] and (n, h, w); None for a sample with NaN or infinity."""
    finite = images.isfinite().flatten(1).all(1) & heatmaps.isfinite().flatten(1).all(1)
    pixels = (images.nan_to_num().permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()
    greys = heatmap_to_uint8(heatmaps.nan_to_num())
    return [
        GeneratedSample(np.ascontiguousarray(image), grey) if good else None
        for image, grey, good in zip(pixels, greys, finite.tolist(), strict=True)
    ]


def batch_that_fits(pipe: StableDiffusionPipeline, size: tuple[int, int]) -> int:
    """How many images of `size` = (h, w) pixels to draw at once: a power of two, for free memory.

    Call it with the model loaded: what the model takes is not free any more.
    """
    free = free_memory(pipe.device)
    if free is None:
        return USUALLY_AT_ONCE
    image = size[0] * size[1] * BYTES_PER_PIXEL * pipe.unet.dtype.itemsize
    fits = max(1, min(free // image, MOST_AT_ONCE[pipe.device.type]))
    return int(2 ** (fits.bit_length() - 1))


@contextmanager
def compiled(pipe: StableDiffusionPipeline) -> Iterator[None]:
    """From now on the UNet is compiled, by its first call, for the shapes of that call.

    It stays so afterwards: a process that draws in several goes compiles once. What torch has to
    say about the model's code on the way stays off the screen. Raises InputError where there is
    nothing to compile with, AlignDiffError where compiling fails.
    """
    _check_compiler(pipe.device)
    if pipe.unet._compiled_call_impl is None:
        pipe.unet.compile()
    try:
        with _quiet_compiler():
            yield
    except torch._dynamo.exc.TorchDynamoException as error:
        pipe.unet._compiled_call_impl = None
        reason = str(error).strip().splitlines()[0]
        raise AlignDiffError(
            f"the UNet could not be compiled ({reason}): leave out --compile"
        ) from error


@contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Keep the compiler's warnings, about code that is not the user's, off the screen."""
    loggers = [logging.getLogger(f"torch.{part}") for part in ("_dynamo", "_inductor", "fx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(torch|diffusers)\b")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _check_compiler(device: torch.device) -> None:
    """Raise InputError when torch.compile would find no compiler for the device."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        usable, needed = has_triton(), "triton, and a GPU that it knows"
    else:
        usable, needed = shutil.which(os.environ.get("CXX", "g++")) is not None, "a C++ compiler"
    if not usable:
        raise InputError(f"--compile needs {needed}; leave it out, or install that first")

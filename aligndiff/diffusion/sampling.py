"""Generating samples with their heatmaps: one pipeline call for a batch of one prompt."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from aligndiff.core.device import free_memory
from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.diffusion.attention import AttentionTap
from aligndiff.diffusion.guidance import guided_within
from aligndiff.diffusion.heatmaps import fuse_heatmap, heatmap_to_uint8
from aligndiff.diffusion.latents import initial_noise
from aligndiff.diffusion.pipeline import denoiser
from aligndiff.diffusion.prompts import EncodedPrompt, call_arguments, encode, reading
from aligndiff.diffusion.vectors import Embedding

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from aligndiff.dataset.entries import Entry


# What an image takes while it is drawn, for every pixel and every byte of a number: 2 GiB for
# 512 px in 16 bits. An estimate on the safe side, twice what Stable Diffusion's layers add up to.
BYTES_PER_PIXEL = 4096
MOST_AT_ONCE = {"cuda": 16, "cpu": 8}  # beyond these an image hardly costs less
USUALLY_AT_ONCE = 4  # where nothing tells the free memory


@dataclass(frozen=True)
class GeneratedSample:
    """What one sample is made of: uint8 (h, w, 3) and uint8 (h, w)."""

    image: NDArray[np.uint8]
    heatmap: NDArray[np.uint8]


@dataclass(frozen=True)
class SamplerSettings:
    """How to draw: denoising steps, guidance scale (1 or less: none), image (h, w) in pixels.

    `guidance_interval`: the lowest and the highest guided noise level, of 1000; None: all are.
    """

    num_inference_steps: int
    guidance_scale: float
    size: tuple[int, int]
    guidance_interval: tuple[float, float] | None = None


def encode_entry(
    pipe: DiffusionPipeline,
    entry: Entry,
    embedding: Embedding | None = None,
    negative_prompt: str = "",
    guided: bool = True,
) -> EncodedPrompt:
    """Encode an entry's prompt once for all of its samples; the rest as in `encode_prompts`."""
    tokens = [] if embedding is None else placeholder_tokens(len(embedding))
    prompt = entry.prompt(tokens)
    return encode_prompts(pipe, prompt, entry.category, embedding, negative_prompt, guided)


@torch.no_grad()
def encode_prompts(
    pipe: DiffusionPipeline,
    prompt: str,
    category: str,
    embedding: Embedding | None = None,
    negative_prompt: str = "",
    guided: bool = True,
) -> EncodedPrompt:
    """Encode a prompt that contains `category`, and the one that guidance leads away from.

    The prompt spells the tokens of `embedding` out. Raises InputError when the category is not in
    the prompt, or the prompt is too long.
    """
    return encode(pipe, prompt, embedding, negative_prompt, guided, category)


def generate(
    pipe: Any, prompt: EncodedPrompt, seeds: Sequence[int], settings: SamplerSettings
) -> list[GeneratedSample | None]:
    """Generate one sample per seed in one batch; None where the model produced NaN.

    A sample depends on its prompt and its seed, not on the batch it is in (to about 1e-6).
    """
    count, scale = len(seeds), settings.guidance_scale
    tap = AttentionTap(pipe, prompt.token_indices, count, settings.size, scale)
    with tap:
        images = draw(pipe, prompt, seeds, settings)
    return _to_samples(images, fuse_heatmap(tap.maps(), settings.size))


def draw(
    pipe: Any, prompt: EncodedPrompt, seeds: Sequence[int], settings: SamplerSettings
) -> Tensor:
    """Images of one prompt by the pipeline's call, one per seed: float32 (n, 3, h, w) in [0, 1]."""
    generators = [Generator("cpu").manual_seed(seed) for seed in seeds]
    scale, interval = settings.guidance_scale, settings.guidance_interval
    with reading(pipe, prompt), guided_within(pipe, interval, scale, len(seeds)):
        images = pipe(
            **call_arguments(pipe, prompt, len(seeds), settings.size, settings.guidance_scale),
            latents=initial_noise(pipe, generators, settings.size),
            generator=generators,  # for schedulers that add noise on their way
            num_inference_steps=settings.num_inference_steps,
            output_type="pt",
        ).images
    return images.float()


def _to_samples(images: Tensor, heatmaps: Tensor) -> list[GeneratedSample | None]:
    """From float32 (n, 3, h, w) in [0, 1] and (n, h, w); None for a sample with NaN or infinity."""
    finite = images.isfinite().flatten(1).all(1) & heatmaps.isfinite().flatten(1).all(1)
    pixels = (images.nan_to_num().permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()
    greys = heatmap_to_uint8(heatmaps.nan_to_num())
    return [
        GeneratedSample(np.ascontiguousarray(image), grey) if good else None
        for image, grey, good in zip(pixels, greys, finite.tolist(), strict=True)
    ]


def batch_that_fits(pipe: DiffusionPipeline, size: tuple[int, int]) -> int:
    """How many images of `size` = (h, w) pixels to draw at once: a power of two, for free memory.

    Call it with the model loaded: what the model takes is not free any more.
    """
    free = free_memory(pipe.device)
    if free is None:
        return USUALLY_AT_ONCE
    image = size[0] * size[1] * BYTES_PER_PIXEL * denoiser(pipe).dtype.itemsize
    fits = max(1, min(free // image, MOST_AT_ONCE[pipe.device.type]))
    return int(2 ** (fits.bit_length() - 1))


@contextmanager
def compiled(pipe: DiffusionPipeline) -> Iterator[None]:
    """From now on the UNet is compiled, by its first call, for the shapes of that call.

    It stays so afterwards: a process that draws in several goes compiles once. What torch has to
    say about the model's code on the way stays off the screen. Raises InputError where there is
    nothing to compile with, AlignDiffError where compiling fails.
    """
    _check_compiler(pipe.device)
    if denoiser(pipe)._compiled_call_impl is None:
        denoiser(pipe).compile()
    try:
        with _quiet_compiler():
            yield
    except torch._dynamo.exc.TorchDynamoException as error:
        denoiser(pipe)._compiled_call_impl = None
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

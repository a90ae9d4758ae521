"""What the steps ask of any text-to-image pipeline: its parts, sizes, and scheduler."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError
from aligndiff.diffusion.families import Family, find_family
from aligndiff.diffusion.schedulers import suits

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


def family_of(pipe: DiffusionPipeline) -> Family:
    """The record of a pipeline's family."""
    return find_family(type(pipe).__name__)


def denoiser(pipe: Any) -> Any:
    """The network that denoises: a UNet or a transformer."""
    return getattr(pipe, "transformer", None) or pipe.unet


def text_encoders(pipe: DiffusionPipeline) -> dict[str, Any]:
    """The text encoders that a pipeline has, by the names of its components."""
    return _components(pipe, "text_encoder")


def tokenizers(pipe: DiffusionPipeline) -> dict[str, Any]:
    """The tokenizer of each text encoder, by the encoder's name."""
    parts = _components(pipe, "tokenizer")
    return {name: parts[name.replace("text_encoder", "tokenizer")] for name in text_encoders(pipe)}


def _components(pipe: DiffusionPipeline, start: str) -> dict[str, Any]:
    parts = {name: getattr(pipe, name) for name in pipe.config if name.startswith(start)}
    return {name: part for name, part in sorted(parts.items()) if part is not None}


def image_size(pipe: Any) -> int:
    """Side in pixels of the images the model was trained on."""
    family = family_of(pipe)
    if family.side is not None:
        return family.side
    side = denoiser(pipe).config.sample_size
    return int(side if isinstance(side, int) else max(side)) * int(pipe.vae_scale_factor)


def size_step(pipe: Any) -> int:
    """A side of an image is a multiple of so many pixels."""
    family = family_of(pipe)
    return math.lcm(family.multiple, int(pipe.vae_scale_factor) * family.patch)


def generation_size(pipe: DiffusionPipeline, side: Sequence[int]) -> tuple[int, int]:
    """(h, w) in pixels from no number (the model's own), one (the side) or two (h, w).

    Raises InputError for a size that the model cannot draw.
    """
    sides = tuple(side) or (image_size(pipe),)
    step = size_step(pipe)
    if any(side % step for side in sides):
        raise InputError(f"--side: must be a multiple of {step} px with this diffusion model")
    return sides[0], sides[-1]


def latent_grid(pipe: Any, size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of the latents of images of `size` (h, w) pixels."""
    scale = int(pipe.vae_scale_factor)
    return size[0] // scale, size[1] // scale


def is_guided(pipe: Any, guidance_scale: float) -> bool:
    """Whether a pipeline call with this scale has an unconditional half."""
    distilled = pipe.config.get("is_distilled", False)
    return family_of(pipe).conditional != "all" and guidance_scale > 1 and not distilled


def guidance_arguments(pipe: DiffusionPipeline, guidance_scale: float) -> dict[str, float]:
    """How a pipeline call is told its guidance; a scale of 1 or less: none."""
    family = family_of(pipe)
    off = family.conditional != "all" and guidance_scale <= 1
    return {family.guidance_argument: family.guidance_off if off else guidance_scale}


@contextmanager
def scheduled(pipe: DiffusionPipeline, name: str) -> Iterator[None]:
    """While open, the pipeline draws by another scheduler; afterwards by its own.

    `name` is one of `data.entries.SchedulerName`; "default" changes nothing. Raises InputError
    where the model's noise levels do not allow it.
    """
    own = pipe.scheduler
    pipe.scheduler = own if name == "default" else _other(pipe, name)
    try:
        yield
    finally:
        pipe.scheduler = own


def _other(pipe: DiffusionPipeline, name: str) -> Any:
    """The named scheduler, with the noise levels and the kind of prediction of the model's own."""
    from diffusers import DPMSolverMultistepScheduler, PNDMScheduler

    own = pipe.scheduler
    suits(name, family_of(pipe), own.config)
    # Passed on, because what the own configuration leaves to its class would follow the new class.
    kept = {"timestep_spacing": own.config.get("timestep_spacing", "leading")}
    if name == "pndm":
        return PNDMScheduler.from_config(own.config, skip_prk_steps=True, **kept)
    return DPMSolverMultistepScheduler.from_config(
        own.config, algorithm_type="dpmsolver++", solver_order=2, **kept
    )


@contextmanager
def checkpointing(pipe: DiffusionPipeline, on: bool) -> Iterator[None]:
    """Gradient checkpointing of the denoiser while open, if asked for."""
    network = denoiser(pipe)
    if on:
        network.enable_gradient_checkpointing()
    try:
        yield
    finally:
        network.disable_gradient_checkpointing()


def views_at_once(pipe: DiffusionPipeline, views: int) -> int:
    """How many of `views` noisy latents, each with its own noise level, one call may take."""
    return 1 if family_of(pipe).one_timestep else views

"""A builder per family: its pipeline class over networks of a few thousand random weights.

`build_tiny("FluxPipeline")` gives the same weights every time. An image of 64 px takes well under a
second; only the topology is that of the real models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from scripts.tiny_families.cross import lcm, pixart, sana, sdxl, stable_diffusion
from scripts.tiny_families.joint import (
    aura_flow,
    chroma,
    flux,
    flux2_klein,
    lumina2,
    qwen,
    sd3,
    z_image,
)

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

SIDE = 64  # px, which every one of them draws
ENLARGED = ("to_q.weight", "to_k.weight", "add_k_proj.weight")


BUILDERS: Mapping[str, Callable[[], Any]] = {
    "StableDiffusionPipeline": stable_diffusion,
    "LatentConsistencyModelPipeline": lcm,
    "StableDiffusionXLPipeline": sdxl,
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
    "Flux2KleinPipeline": flux2_klein,
    "ChromaPipeline": chroma,
    "PixArtAlphaPipeline": partial(pixart, "PixArtAlphaPipeline"),
    "PixArtSigmaPipeline": partial(pixart, "PixArtSigmaPipeline"),
    "SanaPipeline": sana,
    "Lumina2Pipeline": lumina2,
    "QwenImagePipeline": qwen,
    "ZImagePipeline": z_image,
    "AuraFlowPipeline": aura_flow,
}


def build_tiny(pipeline_class: str, seed: int = 0) -> DiffusionPipeline:
    """The tiny pipeline of a class in `BUILDERS`: float32, on the CPU, in evaluation mode.

    Queries and keys are enlarged, so that attention differs from place to place.
    """
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        pipe = BUILDERS[pipeline_class]()
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        denoiser: Any = getattr(pipe, "transformer", None) or pipe.unet
        for name, weight in denoiser.named_parameters():
            if name.endswith(ENLARGED):
                weight.mul_(4)
    pipe.set_progress_bar_config(disable=True)
    return pipe

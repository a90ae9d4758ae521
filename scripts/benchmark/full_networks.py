"""Stable Diffusion 1.5 and XL at full width with random weights, made on the device itself.

What a network costs does not depend on what it has learned. Made on a CPU, billions of random
numbers would take minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from aligndiff.diffusion.hub import load_tokenizer, quiet_loading
from aligndiff.diffusion.load import resolve_diffusion_model
from aligndiff.diffusion.pipeline import denoiser

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig

TEXT_LENGTH = 77
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


@dataclass(frozen=True)
class Width:
    """How wide a network is: 1 is the published width, in channels, heads and layers of text."""

    channels: int = 320  # of the UNet's finest level
    cells: int = 64  # latent cells on a side
    text: int = 768  # of CLIP-L
    big_text: int = 1280  # of CLIP-G
    text_layers: int = 12
    big_text_layers: int = 32
    vae: tuple[int, ...] = (128, 256, 512, 512)
    heads: int = 8  # of every level of SD 1.5
    xl_heads: tuple[int, int, int] = (5, 10, 20)  # of SDXL's levels, the finest first
    xl_blocks: tuple[int, int, int] = (1, 2, 10)  # transformer blocks of their layers
    size_width: int = 256  # of each of the sizes that SDXL is told

    @property
    def side(self) -> int:
        """Side of an image in pixels."""
        return self.cells * 2 ** (len(self.vae) - 1)


SD15 = Width()
SDXL = Width(cells=128)
SMALL = Width(32, 8, 32, 32, 1, 1, (16, 16), 2, (2, 2, 2), (1, 1, 1), 8)
# Half of SDXL's channels at 512 px; the VAE is narrow, so that a few steps weigh beside it as the
# 30 of a real image do.
HALF_SDXL = Width(160, 64, 384, 640, 6, 8, (8, 16, 16, 16), xl_heads=(2, 5, 10))


@contextmanager
def on_device(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """While open, new modules get their random weights there, in that type."""
    usual = torch.get_default_dtype()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            with device:
                yield
        finally:
            torch.set_default_dtype(usual)


def stable_diffusion(
    width: Width, device: torch.device, dtype: torch.dtype
) -> StableDiffusionPipeline:
    """The topology of Stable Diffusion 1.5, ready to draw."""
    quiet_loading()
    from diffusers import PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    tokenizer = _tokenizer()
    with on_device(device, dtype):
        unet = UNet2DConditionModel(
            sample_size=width.cells,
            block_out_channels=tuple(width.channels * n for n in (1, 2, 4, 4)),
            cross_attention_dim=width.text,
            attention_head_dim=width.heads,  # diffusers counts heads with it
        )
        text_encoder = CLIPTextModel(_clip(tokenizer, width.text, width.text_layers))
        vae = _vae(width, 0.18215)
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=PNDMScheduler(skip_prk_steps=True, **SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return ready(pipe, device, dtype)


def stable_diffusion_xl(
    width: Width, device: torch.device, dtype: torch.dtype
) -> StableDiffusionXLPipeline:
    """The topology of Stable Diffusion XL, ready to draw."""
    quiet_loading()
    from diffusers import (
        EulerDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = _tokenizer()
    with on_device(device, dtype):
        unet = UNet2DConditionModel(
            sample_size=width.cells,
            block_out_channels=tuple(width.channels * n for n in (1, 2, 4)),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=width.xl_blocks,
            attention_head_dim=width.xl_heads,
            cross_attention_dim=width.text + width.big_text,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=width.size_width,
            projection_class_embeddings_input_dim=width.big_text + 6 * width.size_width,
        )
        small = CLIPTextModel(_clip(tokenizer, width.text, width.text_layers))
        big = CLIPTextModelWithProjection(_clip(tokenizer, width.big_text, width.big_text_layers))
        vae = _vae(width, 0.13025)
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=small,
        text_encoder_2=big,
        tokenizer=tokenizer,
        tokenizer_2=_tokenizer(),
        unet=unet,
        scheduler=EulerDiscreteScheduler(timestep_spacing="leading", **SCHEDULE),
        add_watermarker=False,
    )
    return ready(pipe, device, dtype)


def _tokenizer() -> Any:
    """The tiny model's words, of the length that CLIP reads."""
    tokenizer = load_tokenizer(resolve_diffusion_model("tiny", None))
    tokenizer.model_max_length = TEXT_LENGTH
    return tokenizer


def _clip(tokenizer: Any, hidden: int, layers: int) -> CLIPTextConfig:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=max(len(tokenizer), 49408) if hidden >= 768 else len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
        max_position_embeddings=TEXT_LENGTH,
        projection_dim=hidden,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _vae(width: Width, scaling: float) -> Any:
    from diffusers import AutoencoderKL

    levels = len(width.vae)
    return AutoencoderKL(
        block_out_channels=width.vae,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=min(32, width.vae[0]),
        sample_size=width.side,
        scaling_factor=scaling,
    )


def ready(pipe: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """As `load_pipeline` leaves one."""
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    for network in (denoiser(pipe), pipe.vae):  # convolutions are faster so
        network.to(memory_format=torch.channels_last)
    return pipe.to(device, dtype)

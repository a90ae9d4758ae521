"""Networks to measure: Stable Diffusion and SSP in several sizes, most of them with random weights.

What a network costs does not depend on what it has learned, but for the head of SSP, whose cost
grows with the cells it is sure of: `random_ssp` sees to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aligndiff.diffusion.hub import load_tokenizer, quiet_loading
from aligndiff.diffusion.load import resolve_diffusion_model
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.segmenters.ssp.network import SSP, Bottleneck, SSPConfig, image_tensor
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.full_networks import HALF_SDXL, ready, stable_diffusion_xl
from scripts.benchmark.joint_networks import flux, stable_diffusion_35

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, StableDiffusionPipeline

TINY = "tiny"
NORM_GROUPS = 32  # of SD 1.5; fewer where the channels do not divide
TEXT_LENGTH = 77  # tokens that CLIP's text encoder reads
# Narrow, so that a few steps weigh beside it as the 50 of a real image do.
VAE_CHANNELS = (8, 16, 16, 16)
BRANCH_WEIGHT = 0.3  # of a residual block with random weights, beside the 1 of its shortcut


@dataclass(frozen=True)
class Topology:
    """A Stable Diffusion with random weights. The last level of its UNet has no cross-attention."""

    title: str
    channels: tuple[int, ...]  # of the UNet's levels, from the finest to the coarsest
    layers: int  # ResNet blocks of a level
    heads: int
    cells: int  # latent cells on a side; an image has 8 times as many pixels
    text_width: int
    text_layers: int

    @property
    def side(self) -> int:
        """Side of an image in pixels."""
        return self.cells * 2 ** (len(VAE_CHANNELS) - 1)


def sd15(width: float) -> Topology:
    """Stable Diffusion 1.5 with `width` (1, 1/2 or 1/4) of its channels, and as few heads."""
    title = "SD 1.5" if width == 1 else f"SD 1.5 at {width:g} x its width"
    channels = tuple(round(width * full) for full in (320, 640, 1280, 1280))
    return Topology(title, channels, 2, round(8 * width), 64, round(768 * width), 12)


@dataclass(frozen=True)
class OtherFamily:
    """A pipeline of another family than Stable Diffusion 1, of reduced width, random weights."""

    title: str
    build: Callable[[], Any]  # on the CPU, in float32


def _half_sdxl() -> Any:
    return stable_diffusion_xl(HALF_SDXL, torch.device("cpu"), torch.float32)


OTHER_FAMILIES = (
    OtherFamily("SDXL at half its width", _half_sdxl),
    OtherFamily("SD 3.5's topology", stable_diffusion_35),
    OtherFamily("FLUX's topology", flux),
)
Network = str | Topology | OtherFamily  # the tiny model by its name, or random weights
TINIEST = Topology("tiniest network", (32, 32), 1, 2, 16, 32, 1)
MID = Topology("mid-size network", (128, 256, 256), 1, 4, 64, 384, 6)


def title(network: Network) -> str:
    """What the table calls a network that `load_network` takes."""
    return f"{network} model" if isinstance(network, str) else network.title


def compared_networks(config: BenchmarkConfig) -> dict[Network, int]:
    """The networks that steps 1 and 2 are compared on, with the timed rounds of each."""
    if not config.effort.large_networks:
        return {TINY: config.rounds}
    largest: tuple[Network, ...] = (large_network(config), *OTHER_FAMILIES)
    rounds: dict[Network, int] = {TINY: config.rounds, MID: config.rounds}
    return rounds | dict.fromkeys(largest, config.large_rounds)


def large_network(config: BenchmarkConfig) -> Topology:
    """SD 1.5, with `--full` at its real width."""
    return sd15(1.0 if config.full else 0.5)


def load_network(network: Network, device: torch.device, dtype: torch.dtype) -> DiffusionPipeline:
    """The bundled tiny model by its name, or a topology with random weights; ready to draw."""
    if isinstance(network, Topology):
        return random_pipeline(network, device, dtype)
    if isinstance(network, OtherFamily):
        return ready(network.build(), device, dtype)
    return load_pipeline(resolve_diffusion_model(network, None), device, dtype)


def random_pipeline(
    topology: Topology, device: torch.device, dtype: torch.dtype
) -> StableDiffusionPipeline:
    """A StableDiffusionPipeline with random weights and the tiny model's words."""
    quiet_loading()
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = load_tokenizer(resolve_diffusion_model(TINY, None))
    tokenizer.model_max_length = TEXT_LENGTH
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=topology.text_width,
        intermediate_size=4 * topology.text_width,
        num_hidden_layers=topology.text_layers,
        num_attention_heads=max(1, topology.text_width // 64),
        max_position_embeddings=TEXT_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = StableDiffusionPipeline(
            vae=_vae(topology),
            text_encoder=CLIPTextModel(text),
            tokenizer=tokenizer,
            unet=_unet(topology),
            scheduler=PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False).eval()
    return pipe.to(device, dtype)


def _unet(topology: Topology) -> nn.Module:
    from diffusers import UNet2DConditionModel

    crossed = len(topology.channels) - 1
    return UNet2DConditionModel(
        sample_size=topology.cells,
        block_out_channels=topology.channels,
        down_block_types=("CrossAttnDownBlock2D",) * crossed + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * crossed,
        layers_per_block=topology.layers,
        cross_attention_dim=topology.text_width,
        attention_head_dim=topology.heads,  # diffusers counts heads with it, despite its name
        norm_num_groups=math.gcd(NORM_GROUPS, topology.channels[0]),
    )


def _vae(topology: Topology) -> nn.Module:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=VAE_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * len(VAE_CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_CHANNELS),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=VAE_CHANNELS[0],
        sample_size=topology.side,
    )


def random_ssp(config: SSPConfig, images: NDArray[np.uint8]) -> SSP:
    """SSP with random weights that knows what to expect of `images`, uint8 (b, h, w, 3).

    Batch normalisation takes its statistics from them, or features would explode. Residual branches
    are weak, so that features still tell places apart, and the last bias centres the features:
    cosines spread over [-1, 1] instead of lying near 1, the head is sure of most cells, and costs
    what it costs with a trained network.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SSP(config)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0  # the statistics of the next pass, and nothing of those before
        elif isinstance(part, Bottleneck) and part.downsample is None:
            nn.init.constant_(part.bn3.weight, BRANCH_WEIGHT)
    last = network.layer3[-1]
    assert isinstance(last, Bottleneck)
    with torch.no_grad():
        network.train().backbone(image_tensor(images))
        features = network.eval().backbone(image_tensor(images))
        last.bn3.bias.sub_(features.mean(dim=(0, 2, 3)))
    return network

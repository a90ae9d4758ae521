"""Stable Diffusion 3.5 and FLUX at reduced width, with random weights: text and image together."""

from __future__ import annotations

from typing import Any

import torch

from aligndiff.diffusion.hub import quiet_loading
from scripts.tiny_families.parts import FLOW_VAE, flow_scheduler
from scripts.tiny_families.tokenizers import clip_tokenizer, t5_tokenizer

WIDTH, HEAD = 512, 64  # channels of a token, and of a head
LAYERS = 4
CELLS = 64  # latent positions on a side: 512 px, 1024 image tokens
CLIP_WIDTH, TEXT_LAYERS = 256, 4
VAE_CHANNELS = (8, 16, 16, 16)  # narrow, as a few steps are to weigh beside it


def stable_diffusion_35() -> Any:
    """Two CLIP and a T5 encoder; blocks with an image-only attention beside the joint one."""
    quiet_loading()
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StableDiffusion3Pipeline(
            transformer=SD3Transformer2DModel(
                sample_size=CELLS,
                patch_size=2,
                in_channels=16,
                out_channels=16,
                num_layers=LAYERS,
                attention_head_dim=HEAD,
                num_attention_heads=WIDTH // HEAD,
                caption_projection_dim=WIDTH,
                joint_attention_dim=WIDTH,
                pooled_projection_dim=2 * CLIP_WIDTH,
                dual_attention_layers=(0, 1),
                qk_norm="rms_norm",
                pos_embed_max_size=CELLS,
            ),
            scheduler=flow_scheduler(shift=3.0),
            vae=_vae(),
            text_encoder=_clip(pooled=True),
            text_encoder_2=_clip(pooled=True),
            text_encoder_3=_t5(),
            tokenizer=clip_tokenizer(),
            tokenizer_2=clip_tokenizer(),
            tokenizer_3=t5_tokenizer(),
        )


def flux() -> Any:
    """A CLIP encoder for one vector, a T5 for the sequence; double and single blocks."""
    quiet_loading()
    from diffusers import FluxPipeline, FluxTransformer2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FluxPipeline(
            transformer=FluxTransformer2DModel(
                patch_size=1,
                in_channels=64,
                num_layers=LAYERS // 2,
                num_single_layers=LAYERS,
                attention_head_dim=HEAD,
                num_attention_heads=WIDTH // HEAD,
                joint_attention_dim=WIDTH,
                pooled_projection_dim=CLIP_WIDTH,
                axes_dims_rope=(8, 28, 28),
                guidance_embeds=True,
            ),
            scheduler=flow_scheduler(shift=3.0, use_dynamic_shifting=True),
            vae=_vae(),
            text_encoder=_clip(pooled=False),
            text_encoder_2=_t5(),
            tokenizer=clip_tokenizer(),
            tokenizer_2=t5_tokenizer(),
        )


def _clip(pooled: bool) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(clip_tokenizer()),
        hidden_size=CLIP_WIDTH,
        intermediate_size=4 * CLIP_WIDTH,
        num_attention_heads=CLIP_WIDTH // HEAD,
        num_hidden_layers=TEXT_LAYERS,
        projection_dim=CLIP_WIDTH,
        bos_token_id=0,
        eos_token_id=2,  # of the published configurations, which is not the tokenizer's
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if pooled else CLIPTextModel)(config)


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=len(t5_tokenizer()),
            d_model=WIDTH,
            d_kv=HEAD,
            d_ff=2 * WIDTH,
            num_layers=TEXT_LAYERS,
            num_heads=WIDTH // HEAD,
        )
    )


def _vae() -> Any:
    from diffusers import AutoencoderKL

    levels = len(VAE_CHANNELS)
    return AutoencoderKL(
        block_out_channels=VAE_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=VAE_CHANNELS[0],
        sample_size=CELLS * 2 ** (levels - 1),
        **FLOW_VAE,
    )

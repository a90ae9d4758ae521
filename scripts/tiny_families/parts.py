"""What several of the tiny pipelines are made of."""

from __future__ import annotations

from typing import Any

from scripts.tiny_families.tokenizers import clip_tokenizer, qwen_tokenizer, t5_tokenizer

SD_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
FLOW_VAE: dict[str, Any] = {
    "shift_factor": 0.0609,
    "scaling_factor": 1.5035,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def tiny_unet(**more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        **{
            "sample_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 32,
            "attention_head_dim": 4,
            "norm_num_groups": 4,
            **more,
        }
    )


def tiny_vae(channels: int, levels: int = 2, **more: Any) -> Any:
    """An image has 2^(levels - 1) px on the side of a latent position."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=32,
        block_out_channels=(4,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        **more,
    )


def flow_scheduler(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def tiny_clip(old_end: bool = False, pooled: bool = False) -> Any:
    """`old_end`: the end token of published configurations, 2, which is not the tokenizer's."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=32,
        bos_token_id=0 if old_end else tokenizer.bos_token_id,
        eos_token_id=2 if old_end else tokenizer.eos_token_id,
        pad_token_id=1 if old_end else tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if pooled else CLIPTextModel)(config)


def tiny_t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(t5_config(T5Config))


def t5_config(kind: Any) -> Any:
    return kind(
        vocab_size=len(t5_tokenizer()), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    )


def causal_config(kind: Any, tokenizer: Any = None, **more: Any) -> Any:
    """The configuration of a small decoder; its tokenizer is Qwen's, if no other is given."""
    return kind(
        **{
            "vocab_size": len(tokenizer or qwen_tokenizer()),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            **more,
        }
    )

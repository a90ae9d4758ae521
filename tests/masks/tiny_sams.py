"""SAMs with random weights: the real classes of transformers, a hundred thousand times smaller."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

WIDTH = {"hidden_size": 16}
INPUT = {"image_size": 64, "patch_size": 16}
DECODER = {
    **WIDTH,
    "mlp_dim": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
}


def make_sam(kind: str) -> Any:
    """A "sam", "sam_hq" or "sam2" for images of 64 px."""
    torch.manual_seed(0)
    return _make_sam2() if kind == "sam2" else _make_sam({"sam": "Sam", "sam_hq": "SamHQ"}[kind])


def _make_sam(prefix: str) -> Any:
    def part(name: str, **options: Any) -> Any:
        return getattr(hf, f"{prefix}{name}")(**options)

    vision = part(
        "VisionConfig",
        **WIDTH,
        **INPUT,
        num_hidden_layers=2,
        num_attention_heads=2,
        output_channels=16,
        mlp_dim=16,
        global_attn_indexes=[1],
        window_size=2,
        num_pos_feats=8,
    )
    prompts = part("PromptEncoderConfig", **WIDTH, **INPUT, mask_input_channels=4)
    own = {"vit_dim": 16} if prefix == "SamHQ" else {}
    decoder = part("MaskDecoderConfig", **DECODER, **own)
    config = part(
        "Config",
        vision_config=vision,
        prompt_encoder_config=prompts,
        mask_decoder_config=decoder,
    )
    return part("Model", config=config)


def _make_sam2() -> Any:
    from transformers.models.sam2 import configuration_sam2 as sam2

    backbone = sam2.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[64, 64],
        blocks_per_stage=[1, 2, 2, 2],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[2],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = sam2.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=16,
    )
    config = hf.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=sam2.Sam2PromptEncoderConfig(**WIDTH, **INPUT, mask_input_channels=4),
        mask_decoder_config=sam2.Sam2MaskDecoderConfig(**DECODER),
    )
    return hf.Sam2Model(config)

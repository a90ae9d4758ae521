"""The networks that learn from captions together: the tiny UNet and its text encoder."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from scripts.tiny_world.world.captions import MAX_LENGTH

WORD_SPREAD = 0.2  # the library's is 0.02: words start far apart, see TEXT_RATE of the trainer
# Spread of CLIP's word vectors. Learning rates of textual inversion are meant for this scale.
CLIP_WORD_SPREAD = 0.02


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        projection_dim=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModel(config)
    torch.nn.init.normal_(encoder.get_input_embeddings().weight, std=WORD_SPREAD)
    return encoder


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=8,
        out_channels=8,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=2,  # diffusers reads this as the number of heads
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )


def new_noise_schedule() -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
    )


@torch.no_grad()
def shrink_residual_stream(encoder: CLIPTextModel, factor: float) -> None:
    """Multiply the vectors of words and positions by ``factor`` without changing any output.

    All that is added to the residual stream shrinks with them, and so does what the layer norms
    add to its variance; the norms, which alone read the stream, see the same.
    """
    tables = [encoder.embeddings.token_embedding, encoder.embeddings.position_embedding]
    for table in tables:
        table.weight.mul_(factor)
    for layer in encoder.encoder.layers:
        for writer in (layer.self_attn.out_proj, layer.mlp.fc2):
            writer.weight.mul_(factor)
            writer.bias.mul_(factor)
    encoder.config.layer_norm_eps *= factor**2
    for module in encoder.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps *= factor**2


def load_published(model: TextToLatents, folder: Path) -> None:
    """Give ``model`` the weights of a pipeline folder that ``publish`` wrote."""
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    shrink_residual_stream(encoder, WORD_SPREAD / CLIP_WORD_SPREAD)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    model.text_encoder.load_state_dict(encoder.state_dict())
    model.unet.load_state_dict(unet.state_dict())


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """int64 (b, MAX_LENGTH)."""
    return tokenizer(
        captions,
        padding="max_length",
        max_length=MAX_LENGTH,
        truncation=True,
        return_tensors="pt",
    ).input_ids


class TextToLatents(torch.nn.Module):
    """The two networks that learn together, as one module."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder = new_text_encoder(tokenizer)
        self.unet = new_unet()

    def forward(self, noisy: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """The predicted velocity (b, 8, h, w) under captions of token ids int64 (b, length)."""
        return self.unet(noisy, timesteps, self.text_encoder(ids)[0]).sample


def make_fast(model: TextToLatents, device: torch.device, compiled: bool) -> None:
    """Twice the steps a minute on a CPU, with the same weights under the same names.

    There the backward pass of the fused attention alone takes a quarter of a step, that of the
    written out one far less, and compiling (which needs a C++ compiler) fuses what lies between
    the convolutions.
    """
    model.unet.to(memory_format=torch.channels_last)
    if device.type == "cpu":
        model.unet.set_attn_processor(AttnProcessor())
        model.text_encoder.set_attn_implementation("eager")
    if compiled:
        model.unet.compile()

"""Single files of tiny pipelines, in the tensor names that the models' first authors gave them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

UNET, VAE = "model.diffusion_model.", "first_stage_model."
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
VAE_NAMES = {
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_q": "mid.attn_1.q",
    "mid_block.attentions.0.to_k": "mid.attn_1.k",
    "mid_block.attentions.0.to_v": "mid.attn_1.v",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def write_single_file(pipe: Any, file: Path, **more: Tensor) -> Path:
    """SD 1.x or SDXL, whole, as one file; `more` are tensors that stand beside its own."""
    tensors = {UNET + _unet_name(k, pipe.unet): v for k, v in pipe.unet.state_dict().items()}
    levels = len(pipe.vae.config.block_out_channels)
    for name, value in pipe.vae.state_dict().items():
        attention = "mid_block.attentions" in name and value.ndim == 2
        tensors[VAE + _vae_name(name, levels)] = value[:, :, None, None] if attention else value
    second = getattr(pipe, "text_encoder_2", None)
    first = "conditioner.embedders.0." if second else "cond_stage_model."
    for name, value in pipe.text_encoder.state_dict().items():
        tensors[f"{first}transformer.text_model.{name.removeprefix('text_model.')}"] = value
    if second is not None:
        tensors |= _open_clip(second.state_dict(), "conditioner.embedders.1.model.")
    save_file({name: value.contiguous() for name, value in (tensors | more).items()}, file)
    return file


def write_denoiser(pipe: Any, file: Path) -> Path:
    """The transformer alone, as one file, in the names that diffusers shares with the authors."""
    save_file({k: v.contiguous() for k, v in pipe.transformer.state_dict().items()}, file)
    return file


def _unet_name(name: str, unet: Any) -> str:
    layers = unet.config.layers_per_block
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(f"{ours}."):
            name = name.replace(ours, theirs, 1)
            return _resnet_name(name) if re.match(r"middle_block\.[02]", name) else name
    side, block, kind, number, rest = re.match(
        r"(down|up)_blocks\.(\d+)\.(\w+?)\.(\d+)\.(.*)", name
    ).groups()  # type: ignore[union-attr]
    i, j = int(block), int(number)
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(layers + 1) * (i + 1)}.0.op.{rest.removeprefix('conv.')}"
        place = f"input_blocks.{(layers + 1) * i + j + 1}"
    else:
        if kind == "upsamplers":
            after = 2 if "CrossAttn" in unet.config.up_block_types[i] else 1
            return f"output_blocks.{(layers + 1) * i + layers}.{after}.{rest}"
        place = f"output_blocks.{(layers + 1) * i + j}"
    return f"{place}.1.{rest}" if kind == "attentions" else _resnet_name(f"{place}.0.{rest}")


def _resnet_name(name: str) -> str:
    for ours, theirs in RESNET.items():
        name = re.sub(rf"\.{ours}\.", f".{theirs}.", name)
    return name


def _vae_name(name: str, levels: int) -> str:
    for ours, theirs in VAE_NAMES.items():
        name = name.replace(ours, theirs)
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    for ours, theirs in (("resnets", "block"), ("upsamplers.0", "upsample")):
        pattern = rf"up_blocks\.(\d+)\.{re.escape(ours)}"
        name = re.sub(pattern, lambda m, to=theirs: f"up.{levels - 1 - int(m[1])}.{to}", name)
    return name


def _open_clip(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """CLIP with a projection in OpenCLIP's names: the three projections of a layer are one."""
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        short = name.removeprefix("text_model.").replace("encoder.layers", "transformer.resblocks")
        if match := re.match(r"(.*)self_attn\.q_proj\.(weight|bias)", short):
            parts = [state[name.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            tensors[f"{match[1]}attn.in_proj_{match[2]}"] = torch.cat(parts)
        if re.search(r"self_attn\.[qkv]_proj", short):
            continue
        for ours, theirs in OPEN_CLIP.items():
            short = short.replace(ours, theirs)
        short = short.replace("final_layer_norm", "ln_final")
        short = short.replace("embeddings.token_embedding", "token_embedding")
        short = short.replace("embeddings.position_embedding.weight", "positional_embedding")
        tensors[short] = value
    tensors["text_projection"] = tensors.pop("text_projection.weight").T
    return {prefix + name: value for name, value in tensors.items()}

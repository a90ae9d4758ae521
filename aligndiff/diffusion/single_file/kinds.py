"""Which model a single file is, told from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.diffusion.hub import OFFER_TINY_MODEL
from aligndiff.diffusion.single_file.header import TensorInfo, read_header

PREFIX = "model.diffusion_model."  # of the denoiser, where a file holds more than that
_FIRST_LAYER = f"{PREFIX}input_blocks.0.0.weight"
_CLIP_L = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
_OPEN_CLIP = "cond_stage_model.model.token_embedding.weight"
_BIG_G = "conditioner.embedders.1.model.positional_embedding"
_LATENTS = 4  # channels that a UNet for text to image takes

NAME_BASE = "add --base_model with the diffusers folder or hub name of the model it belongs to"


@dataclass(frozen=True)
class SingleFile:
    """A kind of single file.

    Attributes:
        title: what people call it.
        pipeline: the pipeline class that it is a model of.
        network: the class of its denoiser; empty where the file holds the whole pipeline.
        configs: the folder of `configs/` with what it does not hold; empty: --base_model gives it.
    """

    title: str
    pipeline: str
    network: str = ""
    configs: str = ""

    @property
    def is_whole(self) -> bool:
        return not self.network


SD1 = SingleFile("Stable Diffusion 1.x", "StableDiffusionPipeline", configs="sd1")
SD2 = SingleFile("Stable Diffusion 2.x", "StableDiffusionPipeline")
SDXL = SingleFile("Stable Diffusion XL", "StableDiffusionXLPipeline", configs="sdxl")
# The denoiser alone, by a tensor that no other kind has. Chroma before FLUX.1, Z-Image before
# Lumina2: the first of each also has what marks the second.
NETWORKS = {
    "distilled_guidance_layer.in_proj.bias": SingleFile(
        "Chroma", "ChromaPipeline", "ChromaTransformer2DModel"
    ),
    "double_blocks.0.img_attn.norm.key_norm.scale": SingleFile(
        "FLUX.1", "FluxPipeline", "FluxTransformer2DModel"
    ),
    "single_stream_modulation.lin.weight": SingleFile(
        "FLUX.2", "Flux2KleinPipeline", "Flux2Transformer2DModel"
    ),
    "joint_blocks.0.context_block.adaLN_modulation.1.bias": SingleFile(
        "Stable Diffusion 3", "StableDiffusion3Pipeline", "SD3Transformer2DModel"
    ),
    "double_layers.0.attn.w2q.weight": SingleFile(
        "AuraFlow", "AuraFlowPipeline", "AuraFlowTransformer2DModel"
    ),
    "layers.0.adaLN_modulation.0.weight": SingleFile(
        "Z-Image", "ZImagePipeline", "ZImageTransformer2DModel"
    ),
    "cap_embedder.0.weight": SingleFile("Lumina2", "Lumina2Pipeline", "Lumina2Transformer2DModel"),
    "blocks.0.cross_attn.q_linear.weight": SingleFile(
        "Sana", "SanaPipeline", "SanaTransformer2DModel"
    ),
    "transformer_blocks.0.img_mod.1.weight": SingleFile(
        "Qwen-Image", "QwenImagePipeline", "QwenImageTransformer2DModel"
    ),
}
SCALED = ("scaled_fp8", ".scale_weight", ".weight_scale")  # 8 bits with factors beside them
# What else lies about as one file, by a part of a tensor's name.
OTHERS = {
    "conditioner.embedders.0.model.": "the refiner of SDXL, which takes images; use the base model",
    "control_model.": "a ControlNet, which draws along another picture",
    "motion_modules.": "a model of videos",
    "lora_": "a LoRA: name it with --lora, and its model with --diffusion_model",
    "text_model.": "a text encoder alone",
    "decoder.conv_in.weight": "a VAE alone",
}


def kind_of_file(file: Path) -> SingleFile:
    """Which kind of model `file` is. Raises InputError, in one line, for any other file."""
    tensors = read_header(file)
    if any(name.endswith(SCALED) for name in tensors):
        raise InputError(
            f"{file} holds scaled 8 bit numbers, which are not read; use the file with 16 bits"
        )
    if kind := _whole_pipeline(tensors, file) or _denoiser(tensors):
        return kind
    explained = (text for part, text in OTHERS.items() if any(part in name for name in tensors))
    reason = next(
        explained, f"of no kind known here (its first tensor is {min(tensors, default='none')})"
    )
    known = ", ".join(kind.title for kind in (SD1, SD2, SDXL, *NETWORKS.values()))
    raise InputError(f"{file} is {reason}; single files may be {known}; {OFFER_TINY_MODEL}")


def is_v_prediction(file: Path) -> tuple[bool, bool]:
    """Whether a file says that it predicts v, and that its noise levels end in pure noise.

    Fine-tunes of SDXL say so by empty tensors of these names, which other programs look for too.
    """
    tensors = read_header(file)
    return "v_pred" in tensors, "ztsnr" in tensors


def _whole_pipeline(tensors: Mapping[str, TensorInfo], file: Path) -> SingleFile | None:
    """The kind of a file with a UNet and its text encoders, in the names of the first authors."""
    if _FIRST_LAYER not in tensors:
        return None
    channels = tensors[_FIRST_LAYER].shape[1]
    if channels != _LATENTS:
        purpose = {9: "inpainting", 8: "editing"}.get(channels, "another purpose")
        raise InputError(
            f"{file}: its UNet takes {channels} channels, not {_LATENTS}: a model for {purpose}, "
            f"not for images from text alone; {OFFER_TINY_MODEL}"
        )
    if "edm_mean" in tensors:
        return SingleFile("Playground 2.5", SDXL.pipeline)
    marks = {_BIG_G: SDXL, _OPEN_CLIP: SD2, _CLIP_L: SD1}
    return next((kind for mark, kind in marks.items() if mark in tensors), None)


def _denoiser(tensors: Mapping[str, TensorInfo]) -> SingleFile | None:
    for mark, kind in NETWORKS.items():
        if mark in tensors or PREFIX + mark in tensors:
            return kind
    return None

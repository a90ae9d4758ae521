"""Transformers in 8 or 4 bits, through diffusers' own configuration."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError
from aligndiff.diffusion.families import FAMILIES
from aligndiff.diffusion.model_files import WEIGHT_PART

if TYPE_CHECKING:
    import torch

PACKAGE = "bitsandbytes"
# Bytes of a quantised number: 4 bits, and a float32 scale for every 64 of them.
BYTES = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
# The networks worth it, by their class in model_index.json: gigabytes of linear layers. CLIP is
# small, and a UNet or VAE is made of convolutions.
_LARGE = re.compile(r"\w*Transformer2DModel|(U?MT5|T5|Gemma|Qwen|Mistral|Llama|Glm)\w*")
_WITHOUT_TRANSFORMER = (
    "StableDiffusionPipeline",
    "LatentConsistencyModelPipeline",
    "StableDiffusionXLPipeline",
)


def large_parts(index: Mapping[str, Any]) -> list[str]:
    """The parts of a pipeline that are quantised, from the contents of its model_index.json."""
    return [
        name
        for name, value in index.items()
        if WEIGHT_PART.fullmatch(name)
        and isinstance(value, list)
        and _LARGE.fullmatch(str(value[1]))
    ]


def check_quantization(quantize: str, pipeline: str | None, is_file: bool) -> None:
    """Raise InputError, in one line, where --quantize gains nothing or cannot be done.

    pipeline: the model's class; None where it is not known yet.
    """
    if quantize == "none":
        return
    if pipeline in _WITHOUT_TRANSFORMER:
        raise InputError(
            f"--quantize {quantize}: {FAMILIES[pipeline].title} is made of convolutions, which it "
            "does not reach; use --precision bfloat16 and --offload model"
        )
    if is_file:
        raise InputError(
            f"--quantize {quantize}: reads a diffusers folder or a hub name, not a single file"
        )
    if importlib.util.find_spec(PACKAGE) is None:
        raise InputError(f"--quantize {quantize}: needs {PACKAGE}; pip install {PACKAGE}")


def quantization_config(quantize: str, dtype: torch.dtype, index: Mapping[str, Any]) -> Any:
    """What diffusers' `from_pretrained` takes as `quantization_config`; None for "none".

    Raises InputError without a CUDA device.
    """
    if quantize == "none":
        return None
    import torch
    from diffusers import PipelineQuantizationConfig

    if not torch.cuda.is_available():
        raise InputError(f"--quantize {quantize}: needs a CUDA GPU, which torch does not see here")
    settings: dict[str, Any] = {"load_in_8bit": True}
    if quantize == "4bit":
        settings = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_compute_dtype": dtype,
        }
    return PipelineQuantizationConfig(
        quant_backend=f"bitsandbytes_{quantize}",
        quant_kwargs=settings,
        components_to_quantize=large_parts(index),
    )

"""The denoiser's own weights: tuned beside an embedding, kept in a file, and put back exactly.

A file is LoRA (low-rank additions to every linear layer and convolution, in the form that
diffusers' `load_lora_weights` reads) or all of the denoiser's weights.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aligndiff.core.errors import InputError
from aligndiff.core.files import atomic_path, file_fingerprint, fingerprint
from aligndiff.dataset.layout import ADAPTATIONS
from aligndiff.diffusion.pipeline import denoiser

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin
    from torch import Tensor
    from torch.nn import Parameter

Tuned = Literal["lora", "full"]

LEARN_AGAIN = "learn it again with python -m scripts.image_mask_inversion --overwrite"
FILE_BYTES = 2  # of a number in a file: float16
READ_AT_MOST = 64 * 2**20  # bytes of a file that its fingerprint reads


def _name(pipe: Any) -> str:
    """What diffusers calls the denoiser in the tensor names of a LoRA."""
    return "transformer" if denoiser(pipe) is getattr(pipe, "transformer", None) else "unet"


def check_adaptable(pipe: DiffusionPipeline, kind: str) -> None:
    """Raise InputError where the denoiser cannot be tuned so, or be drawn as tuned so."""
    network = denoiser(pipe)
    # Quantised weights hold no plain numbers, and keep the LoRAs of others beside them.
    plain = all(weight.is_floating_point() for weight in network.parameters())
    if not plain or getattr(network, "peft_config", None):
        raise InputError("--adapt: does not go together with --quantize; leave one of them out")
    if kind == "lora" and not hasattr(network, "load_lora_adapter"):
        raise InputError(
            f"--adapt lora: diffusers has no LoRA for {type(pipe).__name__}; use --adapt full"
        )


# Learning


@contextmanager
def trainable(pipe: DiffusionPipeline, kind: Tuned, rank: int, seed: int) -> Iterator[list[Any]]:
    """While open, weights of the denoiser learn; yields them, float32 leaves, to be optimised.

    "lora": new layers of `rank`, started from `seed`; what is there stays as it is, in its type.
    "full": all weights, in float32; where they were in 16 bits the network computes in that type by
    autocast. Afterwards, and after an error, the denoiser is what it was, to the byte.
    """
    check_adaptable(pipe, kind)
    opened = _trainable_lora(pipe, rank, seed) if kind == "lora" else _trainable_weights(pipe)
    with opened as weights:
        yield weights


@contextmanager
def _trainable_lora(pipe: DiffusionPipeline, rank: int, seed: int) -> Iterator[list[Parameter]]:
    import torch
    from peft import LoraConfig

    network = denoiser(pipe)
    # Alpha is the rank: what is added counts once, as whoever loads a file without alpha takes it.
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=lora_layers(network))
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network.add_adapter(config)
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        for weight in weights:
            weight.data = weight.data.float()
        yield weights
    finally:
        network.unload_lora()
        network.requires_grad_(False)


def lora_layers(network: ModelMixin) -> list[str]:
    """The layers that LoRA is added to: all linear ones and convolutions.

    Convolutions over groups are left out: they mix few channels, which has no low rank.
    """
    from torch import nn

    return [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
    ]


@contextmanager
def _trainable_weights(pipe: DiffusionPipeline) -> Iterator[list[Parameter]]:
    import torch

    network = denoiser(pipe)
    dtype, device = network.dtype, network.device
    weights = list(network.parameters())
    # Off a GPU's memory meanwhile; on a CPU these are the tensors themselves.
    kept = [weight.data.cpu() for weight in weights]
    try:
        for weight in weights:
            weight.data = weight.data.to(torch.float32, copy=True)
            weight.requires_grad_(True)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            yield weights
    finally:
        for weight, data in zip(weights, kept, strict=True):
            weight.grad = None
            weight.requires_grad_(False)
            weight.data = data.to(device)


# Files


def adaptation_bytes(pipe: DiffusionPipeline, kind: Tuned, rank: int) -> int:
    """How large a file `save_adaptation` will write, but for its header."""
    network = denoiser(pipe)
    if kind == "full":
        return FILE_BYTES * sum(weight.numel() for weight in network.parameters())
    layers = (network.get_submodule(name) for name in lora_layers(network))
    return FILE_BYTES * sum(map(_lora_numbers, layers, itertools.repeat(rank)))


def _lora_numbers(layer: Any, rank: int) -> int:
    """How many numbers LoRA adds to a linear layer or convolution."""
    weight = layer.weight  # (out, in, ...): the first factor has its kernel, the second 1 x 1
    return rank * (weight[0].numel() + len(weight))


def save_adaptation(pipe: DiffusionPipeline, path: Path) -> None:
    """Write what `trainable` has opened, LoRA or all weights by the file's name, in float16."""
    from safetensors.torch import save_file

    if path.name == ADAPTATIONS["lora"]:
        from peft import get_peft_model_state_dict

        layers = get_peft_model_state_dict(denoiser(pipe))
        tensors = {f"{_name(pipe)}.{name}": tensor for name, tensor in layers.items()}
    else:
        tensors = dict(denoiser(pipe).named_parameters())
    halves = {name: tensor.detach().half().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as beside:
        save_file(halves, beside)


def adaptation_fingerprint(path: Path) -> str:
    """16 hex digits that tell a file from another one.

    Of a large one they cover its size and its end: tuning changes every weight.
    """
    size = path.stat().st_size
    if size <= READ_AT_MOST:
        return file_fingerprint(path)
    with open(path, "rb") as file:
        file.seek(size - READ_AT_MOST)
        return fingerprint([size, hashlib.file_digest(file, "sha256").hexdigest()])


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. Raises InputError when it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); {LEARN_AGAIN}"
        ) from error


# Drawing


@contextmanager
def adapted(pipe: DiffusionPipeline, path: Path | None) -> Iterator[None]:
    """While open, the denoiser is as tuned in a file, LoRA or all weights by its name.

    With None it stays as it is. Afterwards, and after an error, it is what it was, to the byte.
    Raises InputError for a file that is broken or of another model.
    """
    if path is None:
        yield
        return
    is_lora = path.name == ADAPTATIONS["lora"]
    check_adaptable(pipe, "lora" if is_lora else "full")
    tensors = _read(path)
    opened = _with_lora if is_lora else _with_weights
    with opened(pipe, tensors, path):
        yield


@contextmanager
def _with_lora(pipe: DiffusionPipeline, tensors: dict[str, Tensor], path: Path) -> Iterator[None]:
    network, prefix = denoiser(pipe), f"{_name(pipe)}."
    _check_lora(
        network, {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}, path
    )
    try:
        network.load_lora_adapter(tensors, prefix=_name(pipe))
        dtype = network.dtype  # slow: it asks the whole network
        for name, weight in network.named_parameters():
            if ".lora_" in name:
                weight.data = weight.data.to(dtype)
        network.requires_grad_(False)
        yield
    finally:
        network.unload_lora()


def _check_lora(network: ModelMixin, tensors: dict[str, Tensor], path: Path) -> None:
    layers = dict(network.named_modules())
    for key, tensor in tensors.items():
        name, _, factor = key.partition(".lora_")
        layer = layers.get(name)
        side = {"A.weight": 1, "B.weight": 0}.get(factor)  # of the layer's weight and the factor's
        if layer is None or side is None or tensor.shape[side] != layer.weight.shape[side]:
            raise InputError(f"{path}: {key} does not fit the diffusion model; {LEARN_AGAIN}")


@contextmanager
def _with_weights(
    pipe: DiffusionPipeline, tensors: dict[str, Tensor], path: Path
) -> Iterator[None]:
    network = denoiser(pipe)
    weights = dict(network.named_parameters())
    shapes = {name: weight.shape for name, weight in weights.items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
        raise InputError(f"{path}: its weights are not those of the diffusion model; {LEARN_AGAIN}")
    # Copied in place, so that a compiled network stays so; the earlier ones off a GPU's memory.
    kept = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
    try:
        _copy(tensors, weights)
        yield
    finally:
        _copy(kept, weights)


def _copy(source: dict[str, Tensor], target: dict[str, Parameter]) -> None:
    import torch

    with torch.no_grad():
        for name, weight in target.items():
            weight.copy_(source[name])

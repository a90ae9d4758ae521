"""A text-to-image pipeline from its files, of any family of `families.py`, ready to draw."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion.choice import DiffusionChoice, with_options
from aligndiff.diffusion.families import FAMILIES
from aligndiff.diffusion.hub import (
    OFFER_TINY_MODEL,
    check_vocabulary,
    from_disk_or_hub,
    quiet_loading,
)
from aligndiff.diffusion.lora import add_loras
from aligndiff.diffusion.model_files import (
    MODEL_INDEX,
    check_family,
    choose_variant,
    list_files,
    model_file,
    pipeline_class,
)
from aligndiff.diffusion.quantization import quantization_config
from aligndiff.diffusion.single_file.load import load_single_file

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

PREDICTION_TYPES = ("epsilon", "v_prediction")
# Where a class has these, so that no picture depends on them: the safety checker's false positives
# come out black and would become training pairs, and the watermark is in the pixels.
WITHOUT = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
    "add_watermarker": False,
}


def load_pipeline(
    chosen: ModelChoice, device: torch.device | str, dtype: torch.dtype
) -> DiffusionPipeline:
    """Load a pipeline of any supported family, ready to draw, in evaluation mode.

    What is on this machine is used first; only then is the hub asked. Raises MissingWeightsError
    when the weights are not to be had, InputError for another family, for a LoRA that does not fit,
    and for what this machine cannot do.
    """
    choice, place = with_options(chosen), torch.device(device)
    quiet_loading()
    _check_offload(choice, place)

    def load(local_only: bool) -> DiffusionPipeline:
        with _usual_dtype(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries, about each other
            pipe = _from_files(choice, dtype, local_only)
            if choice.loras:
                add_loras(pipe, choice.loras, local_only, fuse=choice.quantize == "none")
        for tokenizer in _parts(pipe, "tokenizer"):
            check_vocabulary(tokenizer)
        return pipe

    pipe = from_disk_or_hub(choice.configs if choice.is_file else choice, load)
    _check_networks(pipe, choice)
    _prepare(pipe)
    return _put(pipe, choice, place)


def networks(pipe: DiffusionPipeline) -> dict[str, nn.Module]:
    """The networks of a pipeline by the names of its parts."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def _from_files(choice: DiffusionChoice, dtype: torch.dtype, local_only: bool) -> DiffusionPipeline:
    """The pipeline from this machine (`local_only`) or the hub; fails as diffusers does."""
    import diffusers

    if choice.is_file:
        return load_single_file(choice, dtype, local_only, without)
    # Small files, which tell before gigabytes are fetched or read.
    index = model_file(choice.location, MODEL_INDEX, local_only)
    check_family(index, choice.name)
    _check_configs(choice, local_only)
    kind = getattr(diffusers, pipeline_class(index))
    return kind.from_pretrained(
        choice.location,
        dtype=dtype,
        variant=_variant(choice, local_only),
        local_files_only=local_only,
        quantization_config=quantization_config(choice.quantize, dtype, read_json(index)),
        **without(kind),
    )


def without(kind: type) -> dict[str, Any]:
    """Those arguments of WITHOUT that a pipeline class takes."""
    return {name: WITHOUT[name] for name in inspect.signature(kind).parameters if name in WITHOUT}


def _variant(choice: DiffusionChoice, local_only: bool) -> str | None:
    files = list_files(choice.location, local_only)
    try:
        return choose_variant(files, choice.variant, choice.name)
    except InputError as error:
        if local_only and isinstance(choice.location, str):  # the hub may have it
            raise FileNotFoundError(str(error)) from error
        raise


def _check_configs(choice: DiffusionChoice, local_only: bool) -> None:
    """Refuse a UNet for something else than text to image, by the small files that say so."""
    try:
        unet, vae = (
            read_json(model_file(choice.location, f"{part}/config.json", local_only))
            for part in ("unet", "vae")
        )
    except (OSError, InputError):  # no UNet, or a broken file: loading tells
        return
    taken, given = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if taken != given:
        raise _wrong_channels(choice)


def _check_networks(pipe: DiffusionPipeline, choice: DiffusionChoice) -> None:
    """Refuse what is no plain text-to-image model of its family."""
    family = FAMILIES[type(pipe).__name__]
    prediction = pipe.scheduler.config.get("prediction_type", "epsilon")
    if not family.flow and prediction not in PREDICTION_TYPES:
        raise InputError(
            f"diffusion model {choice}: predicts {prediction!r}, not "
            f"{' or '.join(PREDICTION_TYPES)}; {OFFER_TINY_MODEL}"
        )
    unet = getattr(pipe, "unet", None)
    if unet is not None and unet.config.in_channels != pipe.vae.config.latent_channels:
        raise _wrong_channels(choice)
    if choice.vae_tiling and not hasattr(pipe.vae, "enable_tiling"):
        raise InputError(f"--vae_tiling: the VAE of {choice.name} cannot; leave it out")


def _wrong_channels(choice: DiffusionChoice) -> InputError:
    return InputError(
        f"diffusion model {choice}: its UNet takes more than latents (an inpainting or editing "
        f"model?); {OFFER_TINY_MODEL}"
    )


def _prepare(pipe: DiffusionPipeline) -> None:
    """Evaluation mode, no gradients, no bars; convolutions in the order that is faster."""
    pipe.set_progress_bar_config(disable=True)
    for network in networks(pipe).values():
        network.requires_grad_(False).eval()
    for part in _parts(pipe, "unet", "vae"):
        if all(weight.ndim != 5 for weight in part.parameters()):  # not of videos
            part.to(memory_format=torch.channels_last)


def _put(pipe: DiffusionPipeline, choice: DiffusionChoice, device: torch.device) -> Any:
    if choice.vae_tiling:
        pipe.vae.enable_tiling()
    if choice.offload == "none":
        return pipe.to(device)
    if hasattr(pipe.vae, "enable_slicing"):  # one image of a batch at a time, to the same pixels
        pipe.vae.enable_slicing()
    offload: Callable[..., None] = {
        "model": pipe.enable_model_cpu_offload,
        "sequential": pipe.enable_sequential_cpu_offload,
    }[choice.offload]
    offload(device=device)
    return pipe


def _check_offload(choice: DiffusionChoice, device: torch.device) -> None:
    if choice.offload != "none" and device.type == "cpu":
        raise InputError(
            f"--offload {choice.offload}: moves networks to a GPU and back, and this run is on the "
            "CPU; leave it out"
        )


def _parts(pipe: DiffusionPipeline, *beginnings: str) -> Iterator[Any]:
    for name, part in pipe.components.items():
        if name.startswith(beginnings) and part is not None:
            yield part


@contextmanager
def _usual_dtype() -> Iterator[None]:
    """Put back what diffusers leaves behind as the number format of new tensors, where it fails."""
    usual = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_default_dtype(usual)

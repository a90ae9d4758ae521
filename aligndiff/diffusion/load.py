"""Which diffusion model a run uses, and its loading."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.files import file_fingerprint, fingerprint, hint_for_backslashes, typed_path
from aligndiff.core.hub import HUB_NAME
from aligndiff.core.options import CommandLine, Options, option
from aligndiff.core.weights import TINY, WEIGHTS_DIR, ModelChoice, first_named
from aligndiff.dataset.bank_checks import CountTokens, TokenCount
from aligndiff.dataset.entries import Defaults
from aligndiff.dataset.prompt_bank import TokenCounter
from aligndiff.diffusion.choice import (
    DiffusionChoice,
    LoraFile,
    Offload,
    Quantization,
    with_options,
)
from aligndiff.diffusion.families import Family, find_family, supported
from aligndiff.diffusion.hub import OFFER_TINY_MODEL, from_disk_or_hub, load_tokenizers
from aligndiff.diffusion.lora import parse_lora
from aligndiff.diffusion.model_files import (
    MODEL_INDEX,
    WEIGHT_SUFFIXES,
    cached_file,
    check_class,
    check_family,
    check_pipeline_folder,
    choose_variant,
    explain_file,
    list_files,
    model_file,
    pipeline_class,
)
from aligndiff.diffusion.quantization import check_quantization
from aligndiff.diffusion.single_file.header import sampled_fingerprint
from aligndiff.diffusion.single_file.kinds import NAME_BASE, kind_of_file

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

DEFAULT_DIFFUSION_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
DEFAULT_PIPELINE = "StableDiffusionPipeline"
READ_AT_MOST = 64 * 2**20  # bytes of a weight file that its fingerprint reads


@dataclass(frozen=True)
class DiffusionOptions(Options):
    """Which text-to-image model."""

    diffusion_model: str | None = option(
        None,
        "'tiny', a diffusers folder, a .safetensors file, or a hub name, of any of these: "
        + supported(),
        shown_default=f"the one of dataset.json, else {DEFAULT_DIFFUSION_MODEL}",
    )
    base_model: str | None = option(
        None,
        "diffusers folder or hub name that gives what a single file does not hold: text encoders, "
        "VAE, configurations",
    )
    variant: str | None = option(
        None,
        "weight files to take, as fp16",
        shown_default="the usual ones, or the only ones there",
    )
    lora: tuple[str, ...] = option(
        (),
        "LoRAs to add to the model: a .safetensors file, a folder or a hub name, each with its "
        "weight after a colon, as style.safetensors:0.8; may be given again",
        metavar="FILE[:WEIGHT]",
        repeated=True,
    )
    quantize: Quantization = option(
        "none", "keep transformers (not UNets) in 8 or 4 bits; needs a GPU and bitsandbytes"
    )
    offload: Offload = option(
        "none",
        "keep in the CPU's memory what a GPU has no room for: whole networks (model) or single "
        "layers (sequential, much slower); step 2 only",
    )
    vae_tiling: bool = option(
        False, "decode images in overlapping parts: less memory for large ones, faint seams"
    )


def choose_diffusion_model(line: CommandLine, defaults: Defaults) -> DiffusionChoice:
    """The model that a command line names, else `defaults` of dataset.json, else the built-in."""
    options = line.config(DiffusionOptions)
    return resolve_diffusion_model(options.diffusion_model, defaults.diffusion_model, options)


def token_counter(line: CommandLine) -> TokenCounter:
    """Count the tokens of a prompt as the run's model does; its tokenizers load when asked."""

    def of(defaults: Defaults) -> CountTokens:
        @functools.cache
        def limits() -> list[tuple[Any, int]]:
            chosen = choose_diffusion_model(line, defaults)
            tokenizers = load_tokenizers(chosen)
            most = model_family(chosen).limits
            return [(tokenizers[name], most[name]) for name in most if name in tokenizers]

        return lambda prompt: [
            TokenCount(len(tokenizer(prompt).input_ids), most) for tokenizer, most in limits()
        ]

    return of


def load_diffusion_model(
    choice: ModelChoice, device: str = "auto", precision: str = "auto"
) -> DiffusionPipeline:
    """The pipeline on a device, in a number format; both by the words of the command line."""
    from aligndiff.core.device import choose_device, choose_dtype
    from aligndiff.diffusion.pretrained import load_pipeline

    place = choose_device(device)
    return load_pipeline(choice, place, choose_dtype(precision, place))


def check_model(chosen: ModelChoice) -> None:
    """Load the model, to find out what is wrong with it, if anything."""
    import torch

    from aligndiff.diffusion.pretrained import load_pipeline

    plain = replace(with_options(chosen), quantize="none", offload="none")
    load_pipeline(plain, "cpu", torch.bfloat16)  # half of the memory; its numbers do not matter


def check_learnable(chosen: DiffusionChoice) -> None:
    """Raise InputError for a model that gradients cannot go through."""
    if chosen.offload != "none":
        raise InputError(
            f"--offload {chosen.offload}: step 1 needs text encoders and denoiser on the device "
            "together, for its gradient; use --gradient_checkpointing, --quantize or a smaller "
            "--side"
        )


def resolve_diffusion_model(
    flag: str | None, default: str | None, options: DiffusionOptions | None = None
) -> DiffusionChoice:
    """The diffusion model: the flag, else `default` (of dataset.json), else Stable Diffusion 1.5.

    `options` say how it is loaded. What is on this machine is looked at, without its weights.
    Raises InputError when the name is neither "tiny", nor a diffusers folder or single file of a
    supported family, nor a hub name, when the cache knows that name as another kind's, or when an
    option does not suit the model; MissingWeightsError when what it names is not there.
    """
    options = options or DiffusionOptions()
    place = _locate(*first_named(flag, default))
    base = options.base_model and _locate(options.base_model, "--base_model")
    chosen = DiffusionChoice(
        place.name,
        place.location,
        place.source,
        base=base or None,
        variant=options.variant,
        loras=tuple(map(parse_lora, options.lora)),
        quantize=options.quantize,
        offload=options.offload,
        vae_tiling=options.vae_tiling,
    )
    _check_file(chosen)
    if isinstance(chosen.configs.location, Path) and chosen.configs.location.is_dir():
        choose_variant(list_files(chosen.configs.location, True), chosen.variant, chosen.name)
    check_quantization(chosen.quantize, class_of(chosen), chosen.is_file)
    return chosen


def class_of(chosen: ModelChoice) -> str | None:
    """The pipeline class of a model; None where it is on the hub and nothing here knows it."""
    if isinstance(chosen.location, str):
        index = cached_file(chosen.location, MODEL_INDEX)
        return None if index is None else pipeline_class(index)
    if chosen.location.is_file():
        return kind_of_file(chosen.location).pipeline
    return pipeline_class(chosen.location / MODEL_INDEX)


def model_family(chosen: ModelChoice) -> Family:
    """The family of a model, by a small file, which is fetched from the hub if need be.

    Where it is not to be had, that of the default model: loading will tell what is missing.
    """
    if (known := class_of(chosen)) is not None:
        return find_family(known)
    assert isinstance(chosen.location, str)
    try:
        fetched = from_disk_or_hub(chosen, lambda local: _known_index(chosen, local))
    except MissingWeightsError:
        return find_family(DEFAULT_PIPELINE)
    return find_family(pipeline_class(fetched))


def _known_index(chosen: ModelChoice, local_only: bool) -> Path:
    index = model_file(chosen.location, MODEL_INDEX, local_only)
    check_family(index, chosen.name)
    return index


def model_identity(chosen: ModelChoice) -> str:
    """What a record says of a diffusion model: a hub name, or a name and fingerprint of its files.

    The fingerprint covers a folder's files, byte by byte where they are small. Of gigabytes of
    weights only the size counts (of a single file, slices too): reading them would take longer than
    starting does. What else changes the weights follows: "sd15 0a1b..., lora dots 2c3d... x 0.8".
    """
    choice = with_options(chosen)
    parts = [_identity_of_place(choice)]
    parts += [f"base {_identity_of_place(choice.base)}"] if choice.base else []
    parts += [f"variant {choice.variant}"] if choice.variant else []
    parts += [_identity_of_lora(lora) for lora in choice.loras]
    parts += [choice.quantize] if choice.quantize != "none" else []
    parts += ["tiled VAE"] if choice.vae_tiling else []
    return ", ".join(parts)


def _locate(name: str | None, source: str) -> ModelChoice:
    """Where a model is that is named in `source`: what exists is a path, never a hub name."""
    if name is None:
        return ModelChoice(DEFAULT_DIFFUSION_MODEL, DEFAULT_DIFFUSION_MODEL, "built-in default")
    path = WEIGHTS_DIR / TINY if name == TINY else typed_path(name)
    if os.path.isdir(path):
        check_pipeline_folder(path, name)
        return ModelChoice(name, path, source)
    if name == TINY:
        raise MissingWeightsError(
            f"diffusion model tiny ({source}): {path} is not there; restore it from the repository"
        )
    if os.path.isfile(path):
        if path.suffix != ".safetensors":
            raise InputError(f"diffusion model {name} ({source}): {explain_file(path)}")
        return ModelChoice(name, path, source)
    if HUB_NAME.fullmatch(name) and not name.endswith(WEIGHT_SUFFIXES):
        if index := cached_file(name, MODEL_INDEX):
            check_family(index, name)
        return ModelChoice(name, name, source)
    missing = "file" if name.endswith(WEIGHT_SUFFIXES) else "folder"
    raise MissingWeightsError(
        f"diffusion model {name} ({source}): no such {missing}{hint_for_backslashes(name)}, and a "
        f"hub name has the form owner/name; {OFFER_TINY_MODEL}"
    )


def _check_file(chosen: DiffusionChoice) -> None:
    """Whether a single file is of a known kind, and --base_model is there where it is needed."""
    if not chosen.is_file:
        if chosen.base is not None:
            raise InputError("--base_model: only a single file needs one; leave it out")
        return
    assert isinstance(chosen.location, Path)
    kind = kind_of_file(chosen.location)
    check_class(kind.pipeline, chosen.name, f"this file ({kind.title})")
    if chosen.base is None:
        if kind.configs:
            return
        lacks = "does not tell how it predicts" if kind.is_whole else "holds the denoiser alone"
        raise InputError(f"diffusion model {chosen}: a file of {kind.title} {lacks}; {NAME_BASE}")
    if isinstance(chosen.base.location, Path) and chosen.base.location.is_file():
        raise InputError(f"--base_model {chosen.base.name}: is a file; name a diffusers folder")
    if (base := class_of(chosen.base)) not in (None, kind.pipeline):
        raise InputError(
            f"--base_model {chosen.base.name}: is a {base}, but {chosen.name} is a file of "
            f"{kind.title} ({kind.pipeline})"
        )


def _identity_of_place(chosen: ModelChoice) -> str:
    if isinstance(chosen.location, str):
        return chosen.location
    folder = chosen.location
    if folder.is_file():
        return f"{folder.name} {sampled_fingerprint(folder)}"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    contents = {
        path.relative_to(folder).as_posix(): file_fingerprint(path)
        if path.stat().st_size <= READ_AT_MOST
        else path.stat().st_size
        for path in files
        if path.suffix in (".json", ".txt", ".safetensors", ".bin")
    }
    return f"{folder.resolve().name} {fingerprint(contents)}"


def _identity_of_lora(lora: LoraFile) -> str:
    if isinstance(lora.location, Path):
        name = f"{lora.location.name} {sampled_fingerprint(lora.location)}"
    else:
        name = "/".join(filter(None, (lora.location, lora.file)))
    return f"lora {name} x {lora.weight:g}"

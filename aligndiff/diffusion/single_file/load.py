"""A pipeline from a single file, without a hub where the file is of SD 1.x or SDXL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from aligndiff.core.errors import InputError
from aligndiff.diffusion.choice import DiffusionChoice
from aligndiff.diffusion.model_files import choose_variant, list_files
from aligndiff.diffusion.single_file.kinds import SingleFile, is_v_prediction, kind_of_file
from aligndiff.diffusion.single_file.vocabulary import clip_tokenizer

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

CONFIGS = Path(__file__).with_name("configs")


def load_single_file(
    choice: DiffusionChoice,
    dtype: torch.dtype,
    local_only: bool,
    arguments: Callable[[type], dict[str, Any]],
) -> DiffusionPipeline:
    """The pipeline of a single file; what it lacks comes from its base, else from `configs/`.

    `arguments` gives those of a pipeline class. Fails as diffusers does; raises InputError for a
    file of another kind, and for one whose tensors do not fit.
    """
    import diffusers

    assert isinstance(choice.location, Path)
    kind = kind_of_file(choice.location)
    pipeline = getattr(diffusers, kind.pipeline)
    read = _whole if kind.is_whole else _with_network
    try:
        pipe = read(choice, kind, dtype, local_only, arguments(pipeline))
    except NotImplementedError as error:  # how torch says that a tensor was never filled
        raise _incomplete(choice, kind) from error
    parts = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    if any(weight.is_meta for part in parts for weight in part.parameters()):
        raise _incomplete(choice, kind)
    return pipe


def _whole(
    choice: DiffusionChoice,
    kind: SingleFile,
    dtype: torch.dtype,
    local_only: bool,
    arguments: dict[str, Any],
) -> DiffusionPipeline:
    """All networks from the file; configurations and tokenizers from its base, else our own."""
    import diffusers

    assert isinstance(choice.location, Path)
    own = choice.base is None
    pipe = getattr(diffusers, kind.pipeline).from_single_file(
        str(choice.location),
        config=str(CONFIGS / kind.configs if own else choice.configs.location),
        dtype=dtype,
        local_files_only=own or local_only,
        **(_tokenizers(kind) if own else {}),
        **arguments,
    )
    if own:
        _set_prediction(pipe, choice.location)
    return pipe


def _with_network(
    choice: DiffusionChoice,
    kind: SingleFile,
    dtype: torch.dtype,
    local_only: bool,
    arguments: dict[str, Any],
) -> DiffusionPipeline:
    """The base with the file's denoiser in the place of its own, which is not read."""
    import diffusers

    base = choice.configs.location
    network = getattr(diffusers, kind.network).from_single_file(
        str(choice.location),
        config=str(base),
        subfolder="transformer",
        dtype=dtype,
        local_files_only=local_only,
    )
    return getattr(diffusers, kind.pipeline).from_pretrained(
        base,
        transformer=network,
        dtype=dtype,
        variant=choose_variant(list_files(base, local_only), choice.variant, choice.name),
        local_files_only=local_only,
        **arguments,
    )


def _incomplete(choice: DiffusionChoice, kind: SingleFile) -> InputError:
    return InputError(
        f"diffusion model {choice}: the file lacks tensors of a {kind.title}; download it again, "
        "or name a diffusers folder"
    )


def _tokenizers(kind: SingleFile) -> dict[str, Any]:
    first = {"tokenizer": clip_tokenizer()}
    return first if kind.configs == "sd1" else {**first, "tokenizer_2": clip_tokenizer("!")}


def _set_prediction(pipe: DiffusionPipeline, file: Path) -> None:
    """Let the scheduler take the network's output for what a file says it is."""
    predicts_v, zero_snr = is_v_prediction(file)
    if predicts_v:
        changed = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **changed)

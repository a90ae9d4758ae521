"""Which diffusion model a run uses, and its loading."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.files import file_fingerprint, fingerprint, hint_for_backslashes, typed_path
from aligndiff.core.options import CommandLine, Options, option
from aligndiff.core.weights import TINY, WEIGHTS_DIR, ModelChoice, first_named
from aligndiff.dataset.bank_checks import CountTokens
from aligndiff.dataset.entries import Defaults
from aligndiff.dataset.prompt_bank import TokenCounter
from aligndiff.diffusion.hub import OFFER_TINY_MODEL, load_tokenizer
from aligndiff.diffusion.model_files import (
    MODEL_INDEX,
    WEIGHT_SUFFIXES,
    cached_file,
    check_family,
    check_pipeline_folder,
    explain_file,
)

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

DEFAULT_DIFFUSION_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
READ_AT_MOST = 64 * 2**20  # bytes of a weight file that its fingerprint reads
# Hub names are "owner/name", each of letters, digits, dots, dashes and underscores.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class DiffusionOptions(Options):
    """Which text-to-image model."""

    diffusion_model: str | None = option(
        None,
        "'tiny', a diffusers folder, or a hub name",
        shown_default=f"the one of dataset.json, else {DEFAULT_DIFFUSION_MODEL}",
    )


def choose_diffusion_model(line: CommandLine, defaults: Defaults) -> ModelChoice:
    """The model that a command line names, else `defaults` of dataset.json, else the built-in."""
    flag = line.config(DiffusionOptions).diffusion_model
    return resolve_diffusion_model(flag, defaults.diffusion_model)


def token_counter(line: CommandLine) -> TokenCounter:
    """Count the tokens of a prompt as the run's model does; its tokenizer is loaded when asked."""

    def of(defaults: Defaults) -> CountTokens:
        @functools.cache
        def tokenizer() -> Any:
            return load_tokenizer(choose_diffusion_model(line, defaults))

        return lambda prompt: len(tokenizer()(prompt).input_ids)

    return of


def load_diffusion_model(
    choice: ModelChoice, device: str = "auto", precision: str = "auto"
) -> StableDiffusionPipeline:
    """The pipeline on a device, in a number format; both by the words of the command line."""
    from aligndiff.core.device import choose_device, choose_dtype
    from aligndiff.diffusion.stable_diffusion import load_pipeline

    place = choose_device(device)
    return load_pipeline(choice, place, choose_dtype(precision, place))


def check_model(chosen: ModelChoice) -> None:
    """Load the model, to find out what is wrong with it, if anything."""
    import torch

    from aligndiff.diffusion.stable_diffusion import load_pipeline

    load_pipeline(chosen, "cpu", torch.bfloat16)  # half of the memory; its numbers do not matter


def resolve_diffusion_model(flag: str | None, default: str | None) -> ModelChoice:
    """The diffusion model: the flag, else `default` (of dataset.json), else Stable Diffusion 1.5.

    Raises InputError when the name is neither "tiny", nor a diffusers folder of a Stable Diffusion
    pipeline, nor a hub name, or when the cache knows that name as another family's;
    MissingWeightsError when it is a folder that is not there.
    """
    name, source = first_named(flag, default)
    if name is None:
        return ModelChoice(DEFAULT_DIFFUSION_MODEL, DEFAULT_DIFFUSION_MODEL, "built-in default")
    folder = WEIGHTS_DIR / TINY if name == TINY else typed_path(name)
    if os.path.isdir(folder):
        check_pipeline_folder(folder, name)
        return ModelChoice(name, folder, source)
    if name == TINY:
        raise MissingWeightsError(
            f"diffusion model tiny ({source}): {folder} is not there; restore it from the "
            "repository"
        )
    if os.path.isfile(folder):
        raise InputError(f"diffusion model {name} ({source}): {explain_file(folder)}")
    if HUB_NAME.fullmatch(name) and not name.endswith(WEIGHT_SUFFIXES):
        if index := cached_file(name, MODEL_INDEX):
            check_family(index, name)
        return ModelChoice(name, name, source)
    missing = "file" if name.endswith(WEIGHT_SUFFIXES) else "folder"
    raise MissingWeightsError(
        f"diffusion model {name} ({source}): no such {missing}{hint_for_backslashes(name)}, and a "
        f"hub name has the form owner/name; {OFFER_TINY_MODEL}"
    )


def model_identity(chosen: ModelChoice) -> str:
    """What a record says of a diffusion model: a hub name, or a folder's name and fingerprint.

    The fingerprint covers the folder's files, byte by byte where they are small. Of gigabytes of
    weights only the size counts: reading them would take longer than starting does.
    """
    if isinstance(chosen.location, str):
        return chosen.location
    folder = chosen.location
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    contents = {
        path.relative_to(folder).as_posix(): file_fingerprint(path)
        if path.stat().st_size <= READ_AT_MOST
        else path.stat().st_size
        for path in files
        if path.suffix in (".json", ".txt", ".safetensors", ".bin")
    }
    return f"{folder.resolve().name} {fingerprint(contents)}"

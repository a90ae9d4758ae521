"""Which diffusion model a run uses, and its loading."""

from __future__ import annotations

import argparse
import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.files import file_fingerprint, fingerprint, read_json
from aligndiff.core.weights import TINY, WEIGHTS_DIR, ModelChoice, _first_named, _path
from aligndiff.dataset.bank_checks import CountTokens, parse_defaults
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.prompt_bank import rooted_defaults
from aligndiff.diffusion.hub import OFFER_TINY_MODEL
from aligndiff.runner.options import RunOptions

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

DEFAULT_DIFFUSION_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
PIPELINE_CLASS = "StableDiffusionPipeline"
READ_AT_MOST = 64 * 2**20  # bytes of a weight file that its fingerprint reads
# Hub names are "owner/name", each of letters, digits, dots, dashes and underscores.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load_diffusion_model(chosen: ModelChoice, run: RunOptions) -> StableDiffusionPipeline:
    """The model in the run's precision, on the run's device."""
    from aligndiff.core.device import choose_device, choose_dtype
    from aligndiff.diffusion.stable_diffusion import load_pipeline

    device = choose_device(run.device)
    return load_pipeline(chosen, device, choose_dtype(run.precision, device))


def check_model(chosen: ModelChoice) -> None:
    """Load the model, to find out what is wrong with it, if anything."""
    import torch

    from aligndiff.diffusion.stable_diffusion import load_pipeline

    load_pipeline(chosen, "cpu", torch.bfloat16)  # half of the memory; its numbers do not matter


def resolve_diffusion_model(flag: str | None, default: str | None) -> ModelChoice:
    """The diffusion model: the flag, else `default` (of dataset.json), else Stable Diffusion 1.5.

    Raises InputError when the name is neither "tiny", nor a diffusers folder of a Stable Diffusion
    pipeline, nor a hub name; MissingWeightsError when it is a folder that is not there.
    """
    name, source = _first_named(flag, default)
    if name is None:
        return ModelChoice(DEFAULT_DIFFUSION_MODEL, DEFAULT_DIFFUSION_MODEL, "built-in default")
    folder = WEIGHTS_DIR / TINY if name == TINY else _path(name)
    if os.path.isdir(folder):
        _check_pipeline_folder(folder, name)
        return ModelChoice(name, folder, source)
    if name == TINY:
        raise MissingWeightsError(
            f"diffusion model tiny ({source}): {folder} is not there; restore it from the "
            "repository"
        )
    if HUB_NAME.fullmatch(name):
        return ModelChoice(name, name, source)
    raise MissingWeightsError(
        f"diffusion model {name} ({source}): no such folder, and a hub name has the form "
        f"owner/name; {OFFER_TINY_MODEL}"
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


def _check_pipeline_folder(folder: Path, name: str) -> None:
    """Refuse a folder that does not hold a Stable Diffusion 1.x or 2.x pipeline."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise InputError(
            f"diffusion model {name}: {folder} has no model_index.json, so it is not a diffusers "
            f"folder; {OFFER_TINY_MODEL}"
        )
    contents = read_json(index)
    kind = contents.get("_class_name") if isinstance(contents, dict) else "JSON file without keys"
    if kind != PIPELINE_CLASS:
        raise InputError(
            f"diffusion model {name}: {index} is a {kind}; only {PIPELINE_CLASS} (Stable Diffusion "
            f"1.x and 2.x) works here; {OFFER_TINY_MODEL}"
        )


def add_diffusion_model_option(parser: argparse.ArgumentParser) -> None:
    """--diffusion_model, the same words in every script that draws images."""
    parser.add_argument_group("model").add_argument(
        "--diffusion_model",
        metavar="MODEL",
        help="'tiny', a diffusers folder, or a hub name (default: the one of dataset.json, "
        "else stable-diffusion-v1-5/stable-diffusion-v1-5)",
    )


def token_counter(dataset_dir: Path, diffusion_model: str | None) -> CountTokens:
    """Count the tokens of a prompt as the run's model does; its tokenizer is loaded when asked.

    `diffusion_model` is the flag; without one the prompt bank's own default counts, which is read
    here because the bank is not checked yet when its prompts are.
    """

    @functools.cache
    def tokenizer() -> Any:
        from aligndiff.diffusion.hub import load_tokenizer

        said = parse_defaults(read_json(dataset_dir / DATASET_FILE).get("defaults", {}))[0]
        default = rooted_defaults(dataset_dir, said).diffusion_model
        return load_tokenizer(resolve_diffusion_model(diffusion_model, default))

    return lambda prompt: len(tokenizer()(prompt).input_ids)

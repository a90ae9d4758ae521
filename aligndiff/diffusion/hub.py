"""Diffusion models from this machine or the hub, and what is said of those that are not there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.files import read_json
from aligndiff.core.hub import from_disk_or_hub as load_from_disk_or_hub
from aligndiff.core.weights import ModelChoice

Loaded = TypeVar("Loaded")
OFFER_TINY_MODEL = "to try things out without it: --diffusion_model tiny"
SPECIAL_TOKENS = 4  # start, end, padding, unknown: what is there without a vocabulary


def load_tokenizers(chosen: ModelChoice) -> dict[str, Any]:
    """The tokenizers of a diffusion model alone, by the names of its parts, to count tokens.

    Raises MissingWeightsError when they are neither on this machine nor to be had from the hub.
    """
    quiet_loading()
    import transformers

    from aligndiff.diffusion.choice import with_options
    from aligndiff.diffusion.model_files import MODEL_INDEX, model_file
    from aligndiff.diffusion.single_file.vocabulary import clip_tokenizer

    choice = with_options(chosen)
    if choice.is_file and choice.base is None:
        return {"tokenizer": clip_tokenizer()}
    place = choice.configs

    def load(local_only: bool) -> dict[str, Any]:
        index = read_json(model_file(place.location, MODEL_INDEX, local_only))
        tokenizers = {
            name: getattr(transformers, kind[1]).from_pretrained(
                place.location, subfolder=name, local_files_only=local_only
            )
            for name, kind in index.items()
            if name.startswith("tokenizer") and kind[1]
        }
        for tokenizer in tokenizers.values():
            check_vocabulary(tokenizer)
        return tokenizers

    return from_disk_or_hub(place, load)


def load_tokenizer(chosen: ModelChoice) -> Any:
    """The first of a diffusion model's tokenizers."""
    return next(iter(load_tokenizers(chosen).values()))


def from_disk_or_hub(chosen: ModelChoice, load: Callable[[bool], Loaded]) -> Loaded:
    """See `core.hub.from_disk_or_hub`; MissingWeightsError is that of a diffusion model."""
    return load_from_disk_or_hub(chosen, load, missing_model)


def check_vocabulary(tokenizer: Any) -> None:
    """Raise OSError for a tokenizer without words.

    That is what the library makes, without a word of warning, where its vocabulary is missing.
    """
    if tokenizer.vocab_size <= SPECIAL_TOKENS:
        raise OSError("the tokenizer's vocabulary (vocab.json, merges.txt) is missing")


def quiet_loading() -> None:
    """Keep the model libraries' own bars and advice off the screen; our errors say what matters.

    They set their levels when they are imported, and complain while they import their parts: so
    this comes after `import transformers` and before anything is taken from either.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    import diffusers

    diffusers.utils.logging.set_verbosity(logging.CRITICAL)
    diffusers.utils.logging.disable_progress_bar()


def missing_model(chosen: ModelChoice, reason: str) -> MissingWeightsError:
    """One line for weights that could not be loaded: what was looked for, why, what to do."""
    text = " ".join(reason.split())
    short = text if len(text) <= 160 else text[:157] + "..."
    where = "hub or its local cache"
    if on_disk := isinstance(chosen.location, Path):
        where = "file" if chosen.location.is_file() else "folder"
    no_folder = "" if on_disk else "no such folder, and "
    return MissingWeightsError(
        f"diffusion model {chosen}: {no_folder}cannot be loaded from the {where} ({short}); "
        f"docs/PREPARE.md says how to get it; {OFFER_TINY_MODEL}"
    )

"""Models of transformers: a folder on this machine or a hub name, found before it is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.files import file_fingerprint, fingerprint, hint_for_backslashes, typed_path
from aligndiff.core.hub import HUB_NAME, from_disk_or_hub
from aligndiff.core.weights import ModelChoice

Loaded = TypeVar("Loaded")

CONFIG = "config.json"
_SHOWN = 160  # characters of a library's reason


def resolve_pretrained(name: str, source: str) -> ModelChoice | None:
    """A folder that holds a model, or a hub name; None for what is neither.

    Raises InputError for a folder without a model.
    """
    folder = typed_path(name)
    if not os.path.isdir(folder):
        return ModelChoice(name, name, source) if HUB_NAME.fullmatch(name) else None
    if not os.path.isfile(folder / CONFIG):
        raise InputError(
            f"segmenter weights {name} ({source}): the folder has no {CONFIG}; name the folder "
            "that holds the model of transformers"
        )
    return ModelChoice(name, folder, source)


def named_or_default(flag: str | None, default: str) -> ModelChoice:
    """The folder or hub name of a flag, else the published weights, a hub name.

    Raises InputError for a folder without a model, MissingWeightsError for what is neither.
    """
    if flag is None:
        return ModelChoice(default, default, "built-in default")
    choice = resolve_pretrained(flag, "command line")
    if choice is None:
        raise MissingWeightsError(
            f"segmenter weights {flag} (command line): no such folder{hint_for_backslashes(flag)}, "
            f"and a hub name has the form owner/name, as {default}"
        )
    return choice


def pretrained_identity(choice: ModelChoice) -> str:
    """A hub name, or a folder's name with a fingerprint of what is in it."""
    if isinstance(choice.location, str):
        return choice.location
    files = sorted([*choice.location.glob("*.json"), *choice.location.glob("*.safetensors")])
    prints = [[path.name, file_fingerprint(path)] for path in files]
    return f"{choice.location.resolve().name} {fingerprint(prints)}"


def load_pretrained(choice: ModelChoice, load: Callable[[bool], Loaded]) -> Loaded:
    """What `load(local_files_only)` gives, without the library's bars and advice.

    Raises MissingWeightsError for what neither this machine nor the hub has.
    """
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return from_disk_or_hub(choice, load, _missing)


def _missing(choice: ModelChoice, reason: str) -> MissingWeightsError:
    text = " ".join(reason.split())
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    where = "folder" if isinstance(choice.location, Path) else "hub or its local cache"
    return MissingWeightsError(
        f"segmenter weights {choice}: cannot be loaded from the {where} ({short}); what there is "
        "without a hub: --segmenter features --segmenter_model efficientnet-lite0 "
        "(docs/SEGMENTERS.md)"
    )

"""Is the model hub there? Asked once, briefly, before a library asks it patiently."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.weights import ModelChoice

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

Loaded = TypeVar("Loaded")
logger = logging.getLogger(__name__)
OFFER_TINY_MODEL = "to try things out without it: --diffusion_model tiny"
SPECIAL_TOKENS = 3  # start, end, padding: CLIP has no others

PROBE_SECONDS = 5.0  # the hub client itself would try again and again, for minutes


def unreachable_hub() -> str | None:
    """Why the hub cannot be asked, in a few words; None when it answers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception as error:  # the client's errors have no common family
        return f"{constants.ENDPOINT} cannot be reached: {error}"
    return None


def load_tokenizer(chosen: ModelChoice) -> CLIPTokenizer:
    """The tokenizer of a diffusion model alone, to count the tokens of a prompt.

    Raises MissingWeightsError when it is neither on this machine nor to be had from the hub.
    """
    quiet_loading()
    from transformers import CLIPTokenizer

    def load(local_only: bool) -> CLIPTokenizer:
        tokenizer = CLIPTokenizer.from_pretrained(
            chosen.location, subfolder="tokenizer", local_files_only=local_only
        )
        check_vocabulary(tokenizer)
        return tokenizer

    return from_disk_or_hub(chosen, load)


def from_disk_or_hub(chosen: ModelChoice, load: Callable[[bool], Loaded]) -> Loaded:
    """What `load(local_files_only)` gives: from this machine, else from the hub.

    Raises MissingWeightsError, at once where the hub cannot be reached: the hub client by itself
    would try again for minutes.
    """
    try:
        return load(True)
    except InputError:  # it is there, and not what is needed
        raise
    except Exception as error:  # files, configs and the hub client fail in many families
        reason = error
    if isinstance(chosen.location, str):
        if silence := unreachable_hub():
            raise missing_model(chosen, silence) from reason
        logger.warning("%s is not on this machine: asking the hub for it", chosen.name)
        try:
            return load(False)
        except InputError:
            raise
        except Exception as error:
            reason = error
    raise missing_model(chosen, str(reason)) from reason


def check_vocabulary(tokenizer: CLIPTokenizer) -> None:
    """Raise OSError for a tokenizer without words.

    That is what the library makes, without a word of warning, where vocab.json is missing.
    """
    if tokenizer.vocab_size <= SPECIAL_TOKENS:
        raise OSError("the tokenizer's vocab.json or merges.txt is missing")


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
    where = "folder" if isinstance(chosen.location, Path) else "hub or its local cache"
    no_folder = "" if isinstance(chosen.location, Path) else "no such folder, and "
    return MissingWeightsError(
        f"diffusion model {chosen}: {no_folder}cannot be loaded from the {where} ({short}); "
        f"docs/PREPARE.md says how to get it; {OFFER_TINY_MODEL}"
    )

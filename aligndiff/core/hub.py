"""Models from this machine, else from the hub: asked once, briefly, before a library does."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TypeVar

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.weights import ModelChoice

Loaded = TypeVar("Loaded")
logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0  # the hub client itself would try again and again, for minutes
# Hub names are "owner/name", each of letters, digits, dots, dashes and underscores.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


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


def is_cached(name: str) -> bool:
    """Whether the hub's cache on this machine knows a model by its hub name."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def from_disk_or_hub(
    chosen: ModelChoice,
    load: Callable[[bool], Loaded],
    missing: Callable[[ModelChoice, str], MissingWeightsError],
) -> Loaded:
    """What `load(local_files_only)` gives: from this machine, else from the hub.

    Raises `missing(chosen, reason)`, at once where the hub cannot be reached: the hub client by
    itself would try again for minutes.
    """
    try:
        return load(True)
    except InputError:  # it is there, and not what is needed
        raise
    except Exception as error:  # files, configs and the hub client fail in many families
        reason = error
    if isinstance(chosen.location, str):
        if silence := unreachable_hub():
            raise missing(chosen, silence) from reason
        logger.warning("%s is not on this machine: asking the hub for it", chosen.name)
        try:
            return load(False)
        except InputError:
            raise
        except Exception as error:
            reason = error
    raise missing(chosen, str(reason)) from reason

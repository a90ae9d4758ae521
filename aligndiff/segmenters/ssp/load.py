"""SSP as a segmenter that can be chosen: where its checkpoint lies, and its loading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.files import hint_for_backslashes, typed_path
from aligndiff.core.weights import TINY, WEIGHTS_DIR, ModelChoice, first_named

if TYPE_CHECKING:
    import torch

    from aligndiff.segmenters.ssp.segmenter import SSPSegmenter


def resolve_checkpoint(
    flag: str | None, default: str | None, option: str = "--fss_ckpt_path"
) -> ModelChoice:
    """The segmenter's checkpoint file: the flag, else `default` of dataset.json.

    Raises MissingWeightsError when nobody names one or the file is not there. `option` is how the
    flag is called.
    """
    offer_tiny = f"to try things out without it: {option} tiny"
    name, source = first_named(flag, default)
    if name is None:
        raise MissingWeightsError(
            f"no segmenter checkpoint: give {option} FILE (docs/PREPARE.md says where to get one); "
            f"{offer_tiny}"
        )
    path = WEIGHTS_DIR / "tiny_ssp.safetensors" if name == TINY else typed_path(name)
    if not os.path.isfile(path):
        offer = "restore it from the repository" if name == TINY else offer_tiny
        raise MissingWeightsError(
            f"segmenter checkpoint {name} ({source}): no file {path}{hint_for_backslashes(path)}; "
            f"docs/PREPARE.md says where to get one; {offer}"
        )
    return ModelChoice(name, path, source)


def load(
    choice: ModelChoice, device: torch.device, dtype: torch.dtype, batch_size: int
) -> SSPSegmenter:
    """SSP with the checkpoint's weights. Raises InputError for a file that is no SSP checkpoint."""
    from aligndiff.segmenters.ssp.checkpoint import load_ssp
    from aligndiff.segmenters.ssp.segmenter import SSPSegmenter

    checkpoint = load_ssp(Path(choice.location))
    return SSPSegmenter(checkpoint.network, checkpoint.input_side, device, dtype, batch_size)


def adapt(choice: ModelChoice, *arguments: Any) -> SSPSegmenter:
    """See `adapt.adapt`, which loads torch."""
    from aligndiff.segmenters.ssp.adapt import adapt as adapt_weights

    return adapt_weights(choice, *arguments)

"""Which segmenter a run uses, and its loading."""

from __future__ import annotations

import os

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.weights import TINY, WEIGHTS_DIR, ModelChoice, _first_named, _path


def resolve_checkpoint(
    flag: str | None, default: str | None, option: str = "--fss_ckpt_path"
) -> ModelChoice:
    """The segmenter's checkpoint file: the flag, else `default` of dataset.json.

    Raises MissingWeightsError when nobody names one or the file is not there. `option` is how the
    flag is called.
    """
    offer_tiny = f"to try things out without it: {option} tiny"
    name, source = _first_named(flag, default)
    if name is None:
        raise MissingWeightsError(
            f"no segmenter checkpoint: give {option} FILE (docs/PREPARE.md says where to get one); "
            f"{offer_tiny}"
        )
    path = WEIGHTS_DIR / "tiny_ssp.safetensors" if name == TINY else _path(name)
    if not os.path.isfile(path):
        offer = "restore it from the repository" if name == TINY else offer_tiny
        raise MissingWeightsError(
            f"segmenter checkpoint {name} ({source}): no file {path}; docs/PREPARE.md says where "
            f"to get one; {offer}"
        )
    return ModelChoice(name, path, source)

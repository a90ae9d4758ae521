"""SAM 3 as a segmenter that can be chosen: where its weights lie, and its loading."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.weights import ModelChoice
from aligndiff.segmenters.pretrained import (
    load_pretrained,
    named_or_default,
    pretrained_identity,
)

if TYPE_CHECKING:
    import torch

    from aligndiff.segmenters.sam3.segmenter import Sam3Segmenter

DEFAULT_MODEL = "facebook/sam3"
PACKAGE = "torchvision"  # which boxes and pictures go through in the library
GATED = "its weights are given on request: ask for them on the hub's page, then: hf auth login"


def resolve_checkpoint(flag: str | None, default: str | None) -> ModelChoice:
    """The folder or hub name of the flag, else the published weights. `default` is not asked.

    Raises InputError without the package that the library's model needs.
    """
    if find_spec(PACKAGE) is None:
        raise InputError(
            f"--segmenter sam3: needs {PACKAGE}, which is not installed; pip install '.[sam3]'"
        )
    return named_or_default(flag, DEFAULT_MODEL)


identity = pretrained_identity


def load(
    choice: ModelChoice, device: torch.device, dtype: torch.dtype, batch_size: int
) -> Sam3Segmenter:
    """SAM 3 on a device; it segments one image at a time, whatever `batch_size` says."""
    _check_package()

    def from_pretrained(local_only: bool) -> Sam3Segmenter:
        from transformers import Sam3Model, Sam3Processor

        from aligndiff.segmenters.sam3.segmenter import Sam3Segmenter

        at = {"local_files_only": local_only}
        network = Sam3Model.from_pretrained(choice.location, **at)
        processor = Sam3Processor.from_pretrained(choice.location, **at)
        return Sam3Segmenter(network, processor, device, dtype)

    try:
        return load_pretrained(choice, from_pretrained)
    except MissingWeightsError as error:
        if choice.location != DEFAULT_MODEL:
            raise
        raise MissingWeightsError(f"{error}; {GATED}") from error


def _check_package() -> None:
    """Raise InputError where the package is not made for the torch that is installed."""
    try:
        import torchvision.ops  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"--segmenter sam3: {PACKAGE} cannot be used with this torch ({error}); install both "
            "from one source, in versions that belong together"
        ) from None

"""Which networks the matcher can look through: a name leads to a module, the module to the network.

A new one is a module and a line here. The module has `resolve(name, source)`, which finds the
weights and loads nothing, or says None: not mine; `identity(choice)`, what a record says of them;
and `load(choice, device, dtype)`, which gives the `Extractor`. They are asked in this order.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.files import hint_for_backslashes
from aligndiff.core.weights import ModelChoice

if TYPE_CHECKING:
    import torch

    from aligndiff.segmenters.features.extractors.base import Extractor

EXTRACTORS = (
    "aligndiff.segmenters.features.extractors.efficientnet",
    "aligndiff.segmenters.features.extractors.ssp",
    "aligndiff.segmenters.features.extractors.transformers",
)


def resolve_extractor(name: str, source: str) -> ModelChoice:
    """The weights of that name, of whichever network they are.

    Raises MissingWeightsError when they are not there, and when no network knows the name.
    """
    for module in EXTRACTORS:
        choice: ModelChoice | None = import_module(module).resolve(name, source)
        if choice is not None:
            return choice
    raise MissingWeightsError(
        f"feature network {name} ({source}): no such folder or file{hint_for_backslashes(name)}, "
        "and a hub name has the form owner/name; docs/SEGMENTERS.md lists what there is"
    )


def extractor_identity(choice: ModelChoice) -> str:
    """What a record says of the network and its weights."""
    identity: str = _module_of(choice).identity(choice)
    return identity


def load_extractor(choice: ModelChoice, device: torch.device, dtype: torch.dtype) -> Extractor:
    """The network on a device, in a number format. Raises InputError for weights not its own."""
    extractor: Extractor = _module_of(choice).load(choice, device, dtype)
    return extractor


def _module_of(choice: ModelChoice) -> Any:
    modules = map(import_module, EXTRACTORS)
    return next(module for module in modules if module.resolve(choice.name, choice.source))

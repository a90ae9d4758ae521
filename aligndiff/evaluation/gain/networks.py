"""Which ordinary network is trained: a small one from nothing, or SegFormer from named weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.files import file_fingerprint, typed_path
from aligndiff.core.hub import unreachable_hub
from aligndiff.core.weights import ModelChoice

if TYPE_CHECKING:
    from torch import nn

SMALL = "small"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class NetworkChoice:
    """A network by what was typed: `small`, a folder on this machine, or a name of the hub."""

    chosen: ModelChoice

    @property
    def is_small(self) -> bool:
        return self.chosen.location == SMALL

    @property
    def identity(self) -> str:
        """What a record says of it."""
        folder = self.chosen.location
        if not isinstance(folder, Path):
            return str(folder)
        files = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
        return " ".join([folder.name, *map(file_fingerprint, files)])


def choose_network(typed: str) -> NetworkChoice:
    """The network that --model names. Raises MissingWeightsError for a folder without one."""
    folder = typed_path(typed)
    if typed == SMALL or not folder.exists():
        return NetworkChoice(ModelChoice(typed, typed, "--model"))
    if not (folder / "config.json").is_file():
        raise MissingWeightsError(
            f"--model {typed}: has no config.json; give a folder that save_pretrained of "
            f"transformers wrote, the name of a model of the hub, or '{SMALL}'"
        )
    return NetworkChoice(ModelChoice(typed, folder, "--model"))


def build_network(choice: NetworkChoice, seed: int) -> nn.Module:
    """The network as it is before its training; what is random in it follows from the seed.

    Raises MissingWeightsError when its weights are neither here nor to be had from the hub.
    """
    import torch

    torch.manual_seed(seed)
    if choice.is_small:
        from aligndiff.segmenters.trained.small import SmallSegmenter

        return SmallSegmenter()
    from aligndiff.segmenters.trained.segformer import load_segformer

    location = choice.chosen.location
    try:
        return load_segformer(location, local_files_only=True)
    except OSError as error:
        reason = str(error)
    if not isinstance(location, Path) and not (reason := unreachable_hub() or ""):
        try:
            return load_segformer(location)
        except OSError as error:
            reason = str(error)
    first = reason.strip().splitlines()[0] if reason.strip() else "no such model"
    raise MissingWeightsError(
        f"--model {choice.chosen.name}: cannot be loaded: {first}; give a folder on this machine, "
        f"or '{SMALL}', which needs none"
    )

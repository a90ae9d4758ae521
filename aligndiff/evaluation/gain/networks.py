"""Which ordinary network is trained: a small U-Net, from nothing or from weights, or SegFormer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.errors import MissingWeightsError
from aligndiff.core.files import file_fingerprint, typed_path
from aligndiff.core.hub import unreachable_hub
from aligndiff.core.weights import TINY, WEIGHTS_DIR, ModelChoice

if TYPE_CHECKING:
    from torch import nn

SMALL = "small"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class NetworkChoice:
    """A network by what was typed: `small`, a file or folder here, or a name of the hub."""

    chosen: ModelChoice

    @property
    def small_weights(self) -> Path | None:
        """The file that the small U-Net starts from."""
        location = self.chosen.location
        return location if isinstance(location, Path) and location.is_file() else None

    @property
    def is_small(self) -> bool:
        return self.chosen.location == SMALL or self.small_weights is not None

    @property
    def rate(self) -> float:
        """The highest learning rate that suits it: the more it knows, the lower."""
        if self.chosen.location == SMALL:
            return 3e-3
        return 1e-3 if self.is_small else 1e-4

    @property
    def identity(self) -> str:
        """What a record says of it."""
        folder = self.chosen.location
        if not isinstance(folder, Path):
            return str(folder)
        if folder.is_file():
            return f"{folder.name} {file_fingerprint(folder)}"
        files = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
        return " ".join([folder.name, *map(file_fingerprint, files)])


def choose_network(typed: str) -> NetworkChoice:
    """The network that --model names. Raises MissingWeightsError for a folder without one."""
    folder = WEIGHTS_DIR / "tiny_network.safetensors" if typed == TINY else typed_path(typed)
    if folder.is_file():
        return NetworkChoice(ModelChoice(typed, folder, "--model"))
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

    Raises MissingWeightsError when its weights are neither here nor to be had from the hub, and
    InputError for a file that holds others.
    """
    import torch

    torch.manual_seed(seed)
    if choice.is_small:
        from aligndiff.segmenters.trained.small import SmallSegmenter, load_small

        weights = choice.small_weights
        return load_small(weights) if weights else SmallSegmenter()
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

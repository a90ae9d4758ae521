"""Which text-to-image model a run uses, with all that changes its weights or their place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from aligndiff.core.weights import ModelChoice

Offload = Literal["none", "model", "sequential"]
Quantization = Literal["none", "8bit", "4bit"]


@dataclass(frozen=True)
class LoraFile:
    """A LoRA that is added to a model: where it is and how much of it.

    `file` is its weights, below a hub name; None: the only safetensors file there.
    """

    name: str
    location: str | Path  # a Path is a file on this machine, a str is a hub name
    weight: float = 1.0
    file: str | None = None


@dataclass(frozen=True)
class DiffusionChoice(ModelChoice):
    """A diffusion model: a folder, a single file or a hub name, and how it is loaded.

    Attributes:
        base: a folder or hub name that gives what a single file does not hold.
        variant: the files to take, as "fp16"; None: the usual ones, else the only ones there.
        loras: added to its networks, in this order.
        quantize: the numbers that transformers are kept in.
        offload: whether what is not in use waits in the CPU's memory.
        vae_tiling: whether pictures are decoded in parts.
    """

    base: ModelChoice | None = None
    variant: str | None = None
    loras: tuple[LoraFile, ...] = ()
    quantize: Quantization = "none"
    offload: Offload = "none"
    vae_tiling: bool = False

    @property
    def is_file(self) -> bool:
        """Whether it is one file on this machine."""
        return isinstance(self.location, Path) and self.location.is_file()

    @property
    def configs(self) -> ModelChoice:
        """The folder or hub name with the configurations and tokenizers."""
        return self.base or self


def with_options(chosen: ModelChoice) -> DiffusionChoice:
    """`chosen` as a diffusion model: loaded plainly where it does not say how."""
    if isinstance(chosen, DiffusionChoice):
        return chosen
    return DiffusionChoice(**{field.name: getattr(chosen, field.name) for field in fields(chosen)})

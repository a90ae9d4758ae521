"""The options of step 1."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.options import (
    MOST_DENOISING_STEPS,
    MOST_GUIDANCE,
    MOST_IN_A_BATCH,
    MOST_VECTORS,
)


@dataclass(frozen=True)
class InversionConfig:
    """The recipe of one run. Everything but `gradient_checkpointing` decides the result."""

    bg_lambda: tuple[float, ...] = field(
        default=(0.6,),
        metadata={
            "help": "weight of the background beside the object, 0 or more; several: a sweep"
        },
    )
    inversion_steps: int = field(
        default=500, metadata={"help": "optimizer steps for one embedding, 1 or more"}
    )
    inversion_lr: float = field(
        default=5e-4, metadata={"help": "AdamW's learning rate at the start, above 0; cosine to 0"}
    )
    inversion_train_bs: int = field(
        default=4, metadata={"help": "support views in one pass through the UNet, 1 or more"}
    )
    gradient_accumulation: int = field(
        default=2, metadata={"help": "passes for one optimizer step, 1 or more"}
    )
    vectors: int = field(
        default=1, metadata={"help": "embedding rows for one object, 1 to 16; each takes a token"}
    )
    initializer: str = field(
        default="good",
        metadata={"help": "word that the rows start from, one token of the model"},
    )
    resolution: int | None = field(
        default=None, metadata={"help": "training size in pixels; left out: the model's own size"}
    )
    seed: int = field(default=0, metadata={"help": "seed of the flips, noise levels and noise"})
    gradient_checkpointing: bool = field(
        default=False,
        metadata={"help": "save most of the UNet's memory for a third more time"},
    )

    def __post_init__(self) -> None:
        limits = {
            "inversion_steps": 10**6,
            "inversion_train_bs": MOST_IN_A_BATCH,
            "gradient_accumulation": MOST_IN_A_BATCH,
        }
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                raise InputError(f"--{name}: must be 1 to {most}, is {getattr(self, name)}")
        if not 1 <= self.vectors <= MOST_VECTORS:
            raise InputError(f"--vectors: must be 1 to {MOST_VECTORS}, is {self.vectors}")
        if not 0 < self.inversion_lr <= 10:
            raise InputError(f"--inversion_lr: must be above 0, at most 10, is {self.inversion_lr}")
        if not self.bg_lambda or not all(0 <= value <= 1000 for value in self.bg_lambda):
            raise InputError("--bg_lambda: needs one or more numbers, each from 0 to 1000")
        if len({f"{value:g}" for value in self.bg_lambda}) < len(self.bg_lambda):
            raise InputError("--bg_lambda: the same value is there twice (to six digits)")
        side = self.resolution
        if side is not None and side not in range(64, 4097, 8):
            raise InputError(f"--resolution: must be a multiple of 8 from 64 to 4096, is {side}")
        if not self.initializer.strip():
            raise InputError("--initializer: must be a word")

    def recipe(self, model: str, precision: str) -> dict[str, Any]:
        """What decides the learned rows besides the object and `bg_lambda`, ready for JSON."""
        settings = {**asdict(self), "diffusion_model": model, "precision": precision}
        del settings["bg_lambda"], settings["gradient_checkpointing"]
        return settings


@dataclass(frozen=True)
class SheetConfig:
    """How the samples of the contact sheet are drawn."""

    sheet_samples: int = field(
        default=3, metadata={"help": "images drawn with each embedding for the sheet, 1 to 16"}
    )
    num_inference_steps: int = field(
        default=50, metadata={"help": "denoising steps of these images, 1 or more"}
    )
    guidance_scale: float = field(
        default=7.5, metadata={"help": "classifier-free guidance of these images, 1 or less: none"}
    )

    def __post_init__(self) -> None:
        if not 1 <= self.sheet_samples <= 16:
            raise InputError(f"--sheet_samples: must be 1 to 16, is {self.sheet_samples}")
        steps, guidance = self.num_inference_steps, self.guidance_scale
        if not 1 <= steps <= MOST_DENOISING_STEPS:
            most = MOST_DENOISING_STEPS
            raise InputError(f"--num_inference_steps: must be 1 to {most}, is {steps}")
        if not 0 <= guidance <= MOST_GUIDANCE:
            raise InputError(f"--guidance_scale: must be 0 to {MOST_GUIDANCE}, is {guidance}")

"""The options of step 2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aligndiff.core.errors import InputError
from aligndiff.core.options import MOST_DENOISING_STEPS, MOST_GUIDANCE, MOST_IN_A_BATCH
from aligndiff.dataset.entries import SCHEDULERS, SchedulerName
from aligndiff.dataset.records import IMAGE_FORMATS


@dataclass(frozen=True)
class SynthesisConfig:
    """How many images to make, and how.

    The counts, the batch size and compiling decide no pixels; all the rest does.
    """

    image_per_class: int = field(
        default=100,
        metadata={
            "help": "images of each category, split evenly over its entries",
            "exclusive": "count",
        },
    )
    image_per_entry: int | None = field(
        default=None,
        metadata={"help": "images of each entry instead", "exclusive": "count"},
    )
    batch_size: int | None = field(
        default=None,
        metadata={
            "help": "images drawn at once; changes speed and memory only (default: what fits in "
            "the free memory, at most 16 on a GPU and 8 on a CPU)"
        },
    )
    num_inference_steps: int = field(default=50, metadata={"help": "denoising steps"})
    scheduler: SchedulerName = field(
        default="default",
        metadata={
            "help": "how to denoise: default is the model's own scheduler; dpm++ (DPM-Solver++ 2M) "
            "needs 20 to 25 steps"
        },
    )
    guidance_scale: float = field(
        default=7.5, metadata={"help": "how closely images follow the prompt; 1 or less is off"}
    )
    size: tuple[int, ...] = field(
        default=(),
        metadata={"help": "image size in pixels: side, or height and width (default: the model's)"},
    )
    seed: int = field(
        default=0, metadata={"help": "with entry and index it decides a sample's noise"}
    )
    image_format: Literal["jpg", "png"] = field(
        default="jpg", metadata={"help": "jpg is quality 95 without chroma subsampling"}
    )
    compile: bool = field(
        default=False,
        metadata={
            "help": "compile the UNet first (torch.compile): for long runs on a GPU; it takes "
            "minutes to start, and gains nothing on a CPU"
        },
    )

    def __post_init__(self) -> None:
        per_entry = 1 if self.image_per_entry is None else self.image_per_entry
        batch_size = 1 if self.batch_size is None else self.batch_size
        limits = {
            "image_per_class": (self.image_per_class, 10**6),
            "image_per_entry": (per_entry, 10**6),
            "batch_size": (batch_size, MOST_IN_A_BATCH),
            "num_inference_steps": (self.num_inference_steps, MOST_DENOISING_STEPS),
        }
        guidance = self.guidance_scale
        checks = {
            f"--{name} must be from 1 to {most}, not {value}": 1 <= value <= most
            for name, (value, most) in limits.items()
        } | {
            f"--scheduler must be one of {', '.join(SCHEDULERS)}, not {self.scheduler}": (
                self.scheduler in SCHEDULERS
            ),
            f"--guidance_scale must be a number from 0 to {MOST_GUIDANCE}, not {guidance}": (
                0 <= guidance <= MOST_GUIDANCE
            ),
            "--size takes one number or two (height and width), multiples of 8 px up to 4096": (
                len(self.size) <= 2 and all(side in range(8, 4097, 8) for side in self.size)
            ),
            f"--image_format must be one of {', '.join(IMAGE_FORMATS)}": (
                self.image_format in IMAGE_FORMATS
            ),
        }
        if problems := [text for text, good in checks.items() if not good]:
            raise InputError(problems)

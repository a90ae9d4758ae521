"""The options of step 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aligndiff.core.options import (
    MAX_BATCH,
    MAX_DENOISING_STEPS,
    MAX_GUIDANCE,
    Options,
    is_interval,
    option,
)
from aligndiff.dataset.entries import SchedulerName
from aligndiff.synthesis.heatmaps.table import HEATMAPS


@dataclass(frozen=True)
class SynthesisConfig(Options):
    """How many images to generate, and how.

    The counts, the batch size and compiling decide no pixels; all the rest does.
    """

    image_per_class: int = option(
        100, "images of each category, split evenly over its entries", 1, 10**6, exclusive="count"
    )
    image_per_entry: int | None = option(
        None, "images of each entry instead", 1, 10**6, exclusive="count"
    )
    batch_size: int | None = option(
        None,
        "images generated at once; changes speed and memory only",
        1,
        MAX_BATCH,
        shown_default="what fits in the free memory, at most 16 on a GPU and 8 on a CPU",
    )
    preset: Literal["method", "fast"] | None = option(
        None,
        "method: as published, 50 steps of the model's own scheduler, with Stable Diffusion 1 102 "
        "calls of the network for an image; fast: 12 steps of dpm++, 24 calls; steps and scheduler "
        "that are given win over it",
        shown_default="dataset.json's steps and scheduler, or those of method",
    )
    num_inference_steps: int | None = option(
        None,
        "denoising steps",
        1,
        MAX_DENOISING_STEPS,
        shown_default="50 with Stable Diffusion 1.x and 2.x, of other families docs/MODELS.md",
    )
    scheduler: SchedulerName = option(
        "default",
        "default is the model's own scheduler; dpm++ (DPM-Solver++ 2M) needs 20 to 25 steps",
    )
    guidance_scale: float | None = option(
        None,
        "classifier-free guidance scale; <= 1 disables it",
        0,
        MAX_GUIDANCE,
        shown_default="7.5 with Stable Diffusion 1.x and 2.x, of other families docs/MODELS.md",
    )
    guidance_interval: tuple[float, ...] = option(
        (),
        "lowest and highest noise level at which guidance is on; elsewhere the unconditional half "
        "is not computed",
        0,
        1000,
        shown_default="all levels",
    )
    negative_prompt: str = option(
        "",
        "what the images are not to show, for entries without their own; needs guidance",
        metavar="TEXT",
        shown_default="nothing",
    )
    heatmap: str = option(
        "method",
        "what a heatmap is: the published one, heads weighted by how well they show the support "
        "masks, or these spread over the object and with the image's edges",
        choices=HEATMAPS,
    )
    side: tuple[int, ...] = option(
        (),
        "side of the images, or height and width",
        8,
        4096,
        multiple_of=8,
        unit="px",
        shown_default="the model's",
    )
    seed: int = option(0, "random seed; combined with entry and index")
    image_format: Literal["jpg", "png"] = option(
        "jpg", "jpg is quality 95 without chroma subsampling"
    )
    compile: bool = option(
        False,
        "compile the UNet first (torch.compile): for long runs on a GPU; it takes minutes to "
        "start, and gains nothing on a CPU",
    )

    def contradictions(self) -> list[str]:
        problems = []
        if len(self.side) > 2:
            problems.append("--side: takes one number, or two: height and width")
        if self.guidance_interval and not is_interval(self.guidance_interval):
            problems.append("--guidance_interval: takes two numbers, the lower one first")
        off = self.guidance_scale is not None and self.guidance_scale <= 1
        if self.guidance_interval and off:
            problems.append("--guidance_interval: needs guidance, and --guidance_scale disables it")
        return problems

"""Each family's tiny pipeline, drawn in the card's 16-bit type: finite, recorded, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from aligndiff.diffusion.families import FAMILIES
from aligndiff.diffusion.hub import quiet_loading
from aligndiff.diffusion.sampling import SamplerSettings
from scripts.gpu_check.attempts import Attempt, Place
from scripts.gpu_check.config import Check
from scripts.gpu_check.lines import figure, tried
from scripts.gpu_check.pictures import GUIDANCE, grey_difference, plain, recorded
from scripts.reporting import Line
from scripts.tiny_families.build import SIDE, build_tiny

CHECK: Check = "families"
SEEDS = (1,)  # texts of several images at once would be encoded with other last bits
STEPS, FEW_STEPS = 10, 2
FLAT = 5  # grey levels between the least and the greatest of a heatmap that shows nothing


def attempts(place: Place) -> Iterator[Attempt]:
    for name in FAMILIES:
        yield Attempt(name, partial(_family, place, name), 5)


def _family(place: Place, name: str) -> Iterator[Line]:
    """Against the plain call in the same format, and against float32 on the same device."""
    quiet_loading()
    pipe = build_tiny(name).to(place.device, place.dtype)
    steps = FEW_STEPS if place.config.small else STEPS
    settings = SamplerSettings(steps, GUIDANCE, (SIDE, SIDE))
    samples = recorded(pipe, SEEDS, settings)
    images = [sample.image for sample in samples]
    problems = []
    if any(np.ptp(sample.heatmap) <= FLAT for sample in samples):
        problems.append("a heatmap is flat")
    if not np.array_equal(np.stack(images), plain(pipe, SEEDS, settings)):
        problems.append("images differ from the plain call's")
    number_format = str(place.dtype).removeprefix("torch.")
    what = f"{name}, {number_format}: finite images, the plain call's, and heatmaps"
    yield tried(CHECK, what, "the same images", problems, len(images))
    if place.dtype == torch.float32:
        return
    exact = recorded(build_tiny(name).to(place.device), SEEDS, settings)
    difference = grey_difference(images, [sample.image for sample in exact])
    what = f"{name}, {number_format} against float32: mean difference in grey levels"
    yield figure(CHECK, what, difference, "", n=len(images))

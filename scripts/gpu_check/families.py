"""Each family's tiny pipeline, drawn in the card's 16-bit type: finite, recorded, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from aligndiff.diffusion.sampling import SamplerSettings, generation_size
from scripts.benchmark.networks import TINY, load_network
from scripts.gpu_check.attempts import Attempt, Place
from scripts.gpu_check.config import Check
from scripts.gpu_check.lines import figure, tried
from scripts.gpu_check.pictures import GUIDANCE, grey_difference, plain, recorded
from scripts.reporting import Line

CHECK: Check = "families"
SEEDS = (1, 2)
STEPS, FEW_STEPS = 10, 2
FLAT = 5  # grey levels between the least and the greatest of a heatmap that shows nothing


def _tiny(device: torch.device, dtype: torch.dtype) -> Any:
    return load_network(TINY, device, dtype)


# A pipeline on a device in a number format, by the family's name.
FAMILIES: dict[str, Callable[[torch.device, torch.dtype], Any]] = {"sd": _tiny}


def attempts(place: Place) -> Iterator[Attempt]:
    for name, build in FAMILIES.items():
        yield Attempt(name, partial(_family, place, name, build), 5)


def _family(
    place: Place, name: str, build: Callable[[torch.device, torch.dtype], Any]
) -> Iterator[Line]:
    """Against the plain call in the same format, and against float32 on the same device."""
    pipe = build(place.device, place.dtype)
    steps = FEW_STEPS if place.config.small else STEPS
    settings = SamplerSettings(steps, GUIDANCE, generation_size(pipe, ()))
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
    exact = recorded(build(place.device, torch.float32), SEEDS, settings)
    difference = grey_difference(images, [sample.image for sample in exact])
    what = f"{name}, {number_format} against float32: mean difference in grey levels"
    yield figure(CHECK, what, difference, "", n=len(images))

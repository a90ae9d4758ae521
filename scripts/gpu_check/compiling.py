"""`--compile` on the device: the images of the network that is not compiled, and faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from aligndiff.diffusion.pipeline import generation_size
from aligndiff.diffusion.sampling import SamplerSettings, compiled, generate
from scripts.benchmark.full_networks import SD15, SMALL, stable_diffusion
from scripts.benchmark.networks import TINY, load_network
from scripts.benchmark.timing import alternate, clock, ratios, spread
from scripts.gpu_check.attempts import Attempt, Place
from scripts.gpu_check.config import Check
from scripts.gpu_check.lines import at_most, figure
from scripts.gpu_check.pictures import (
    GUIDANCE,
    encoded,
    grey_difference,
    recorded,
    without_heatmaps,
)
from scripts.reporting import Line

CHECK: Check = "compile"
SEEDS = (1, 2)
STEPS = 20
REPEATS = 3
SAME = at_most(2.0)  # grey levels: a compiled network rounds otherwise
RECORDING = at_most(1.05)


def attempts(place: Place) -> Iterator[Attempt]:
    if place.config.small:
        yield Attempt("a small network", partial(_same_images, place, "a small network"))
        return
    yield Attempt("the tiny model", partial(_same_images, place, "the tiny model"), 90)
    yield Attempt("SD 1.5, compiled", partial(_speed, place), 150)


def _same_images(place: Place, name: str) -> Iterator[Line]:
    """The images, the heatmaps, and the seconds until the first batch is there."""
    pipe = _pipe(place)
    steps = 2 if place.config.small else STEPS
    settings = SamplerSettings(steps, GUIDANCE, generation_size(pipe, ()))
    before = recorded(pipe, SEEDS, settings)
    if place.config.small:
        # A C++ compiler takes a minute for these few layers; what is traced is the same.
        pipe.unet.compile(backend="eager")
    started = time.perf_counter()
    with compiled(pipe):
        after = recorded(pipe, SEEDS, settings)
        seconds = time.perf_counter() - started
    yield figure(CHECK, f"{name}: the first batch, compiling included", seconds, "s")
    images, heatmaps = (
        grey_difference(
            [getattr(one, kind) for one in before], [getattr(one, kind) for one in after]
        )
        for kind in ("image", "heatmap")
    )
    what = f"{name}: compiled against not, mean difference in grey levels"
    yield figure(CHECK, f"{what}, images", images, "", SAME, len(SEEDS))
    yield figure(CHECK, f"{what}, heatmaps", heatmaps, "", SAME, len(SEEDS))


def _pipe(place: Place) -> Any:
    if not place.config.small:
        return load_network(TINY, place.device, place.dtype)
    pipe = stable_diffusion(SMALL, place.device, place.dtype)
    pipe.unet = _two_levels(place)
    return pipe


def _two_levels(place: Place) -> Any:
    """Few layers: on a CPU compiling takes seconds for each of them."""
    from diffusers import UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=SMALL.cells,
            block_out_channels=(8, 8),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            mid_block_type=None,
            layers_per_block=1,
            cross_attention_dim=SMALL.text,
            attention_head_dim=4,
            norm_num_groups=4,
        )
    return unet.requires_grad_(False).eval().to(place.device, place.dtype)


def _speed(place: Place) -> Iterator[Line]:
    """SD 1.5's topology, one image: compiled against not, and recording against the plain call."""
    pipe = stable_diffusion(SD15, place.device, place.dtype)
    settings, prompt = SamplerSettings(STEPS, GUIDANCE, (SD15.side, SD15.side)), encoded(pipe)
    sides: dict[str, Callable[[], object]] = {
        "plain": partial(without_heatmaps, pipe, prompt, [1], settings),
        "recording": partial(generate, pipe, prompt, [1], settings),
    }
    now = clock(place.device)
    before = spread(alternate(sides, REPEATS, now)["recording"]).median
    started = time.perf_counter()
    with compiled(pipe):
        sides["recording"]()
        seconds = time.perf_counter() - started
        yield figure(CHECK, "SD 1.5: the first image, compiling included", seconds, "s")
        after = alternate(sides, REPEATS, now)
    median = spread(after["recording"]).median
    told = f"{1 / before:.2f} to {1 / median:.2f} images/s with heatmap, {STEPS} steps"
    what = "SD 1.5: times as fast when compiled"
    yield figure(CHECK, what, before / median, "x", n=REPEATS, outcome=told)
    slower = spread(ratios(after["recording"], after["plain"]))
    what = "SD 1.5, compiled: time with heatmap, ratio"
    yield figure(CHECK, what, slower.median, "x", RECORDING, slower.n)

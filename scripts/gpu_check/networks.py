"""Large networks with random weights: what recording costs on a card, and how fast it learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from aligndiff.diffusion.pipeline import image_size
from aligndiff.diffusion.sampling import SamplerSettings, batch_that_fits, generate
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.latents import encode_support
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.templates import training_texts
from scripts.benchmark.full_networks import (
    SD15,
    SDXL,
    SMALL,
    Width,
    stable_diffusion,
    stable_diffusion_xl,
)
from scripts.benchmark.memory import MEGABYTE, alternate_peaks
from scripts.benchmark.scenes import scene_pair
from scripts.benchmark.timing import alternate, clock, ratios, spread
from scripts.gpu_check.attempts import Attempt, Place
from scripts.gpu_check.config import Check
from scripts.gpu_check.lines import at_most, figure, tried
from scripts.gpu_check.pictures import GUIDANCE, encoded, plain, recorded, without_heatmaps
from scripts.reporting import Line

CHECK: Check = "networks"
TIME_TARGET, MEMORY_TARGET = at_most(1.05), at_most(1.1)
STEPS, FEW_STEPS = 20, 2
BATCH = 4  # at most: an image takes less time in a batch
REPEATS = 3
TEXTS = training_texts("fish", vectors=1)
SEED = 1
Build = Callable[..., Any]  # of a width, a device and a number format
Sides = dict[str, Callable[[], object]]  # drawing with heatmaps and without


def attempts(place: Place) -> Iterator[Attempt]:
    small = place.config.small
    sd15, sdxl = (SMALL, SMALL) if small else (SD15, SDXL)
    yield Attempt("SD 1.5", partial(_network, place, "SD 1.5", stable_diffusion, sd15), 40)
    yield Attempt("SDXL", partial(_network, place, "SDXL", stable_diffusion_xl, sdxl), 60)


def _network(place: Place, name: str, build: Build, width: Width) -> Iterator[Line]:
    """Built, drawn with and without heatmaps, and learned with."""
    pipe, made = _made(name, build, width, place)
    yield made
    small = place.config.small
    steps = FEW_STEPS if small else STEPS
    prompt, settings = encoded(pipe), SamplerSettings(steps, GUIDANCE, (width.side, width.side))
    (sample,) = recorded(pipe, [SEED], settings)
    yield _unchanged(name, sample.image, plain(pipe, [SEED], settings)[0])
    most = 1 if small else min(BATCH, batch_that_fits(pipe, settings.size))
    for batch in sorted({1, most}):
        seeds = range(batch)
        sides: Sides = {
            "plain": partial(without_heatmaps, pipe, prompt, seeds, settings),
            "recording": partial(generate, pipe, prompt, seeds, settings),
        }
        yield from _costs(f"{name}, batch of {batch}", sides, batch, steps, place)
    yield from _learning(name, pipe, place)


def _unchanged(name: str, with_map: np.ndarray, without: np.ndarray) -> Line:
    most = int(np.abs(with_map.astype(int) - without).max())
    problems = [f"differs by up to {most} grey levels"] if most else []
    return tried(CHECK, f"{name}: recording changes no bit of the image", "the same", problems)


def _made(name: str, build: Build, width: Width, place: Place) -> tuple[Any, Line]:
    now = clock(place.device)
    started = now()
    pipe = build(width, place.device, place.dtype)
    seconds = now() - started
    weights = sum(
        parameter.numel()
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for parameter in part.parameters()
    )
    told = f"{weights / 1e6:.0f} million random weights in {seconds:.1f} s"
    return pipe, tried(CHECK, f"{name}: is made on the device", told)


def _costs(name: str, calls: Sides, images: int, steps: int, place: Place) -> Iterator[Line]:
    """Images a second, the ratio of times within each round, and the peaks of memory."""
    judged = not place.config.small
    rounds = REPEATS if judged and images == 1 else 1
    seconds = alternate(calls, rounds, clock(place.device))
    for side, taken in seconds.items():
        rate = images / spread(taken).median
        what = f"{name}: {side}, {steps} steps"
        yield figure(CHECK, what, rate, "images/s", n=len(taken))
    slower = spread(ratios(seconds["recording"], seconds["plain"]))
    target = TIME_TARGET if judged else None
    yield figure(CHECK, f"{name}: time with heatmap, ratio", slower.median, "x", target, slower.n)
    if place.device.type == "cuda" and images == 1:
        peaks = alternate_peaks(calls, 1, place.device)
        own = {side: found[0].own for side, found in peaks.items()}
        told = ", ".join(f"{side} {size / MEGABYTE:.0f} MB" for side, size in own.items())
        ratio, what = (
            own["recording"] / max(own["plain"], 1),
            "peak memory besides the model, ratio",
        )
        yield figure(CHECK, f"{name}: {what}", ratio, "x", MEMORY_TARGET, 1, told)


def _learning(name: str, pipe: Any, place: Place) -> Iterator[Line]:
    """Seconds of an optimizer step of step 1, with its usual batch and accumulation."""
    small = place.config.small
    side = image_size(pipe)
    support = encode_support(pipe, [scene_pair(0, side)], side)
    config = InversionConfig(inversion_steps=2 if small else 8)
    watch = StepTimes(clock(place.device))
    _, losses = learn_vectors(
        pipe, TEXTS, support, config, config.bg_lambda[0], torch.Generator().manual_seed(0), watch
    )
    found = spread(watch.seconds[1:])
    what = (
        f"{name}: an optimizer step of step 1 (batch {config.inversion_train_bs} x "
        f"{config.gradient_accumulation})"
    )
    told = f"loss {losses[0]:.3f} to {losses[-1]:.3f}"
    yield figure(CHECK, what, found.median, "s", n=found.n, outcome=told)


class StepTimes:
    """Takes the place of a progress bar: seconds of every step."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.seconds, self.last = now, list[float](), now()

    def __call__(self, count: int = 1, category: str = "", *, status: str = "") -> None:
        ended = self.now()
        self.seconds.append(ended - self.last)
        self.last = ended

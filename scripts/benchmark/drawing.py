"""Part a: step 2 draws with heatmaps; what does that cost beside the plain pipeline call?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import torch

from aligndiff.core.device import choose_dtype
from aligndiff.dataset.entries import TextEntry
from aligndiff.diffusion.pipeline import generation_size
from aligndiff.diffusion.sampling import (
    EncodedPrompt,
    SamplerSettings,
    draw,
    encode_entry,
    generate,
)
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.memory import MEGABYTE, Peak, alternate_peaks, can_be_measured
from scripts.benchmark.networks import TINY, compared_networks, load_network, title
from scripts.benchmark.timing import Clock, alternate, clock, ratios
from scripts.reporting import Line

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

ENTRY = TextEntry(type="text", category="fish", D_good_dir="fish", text="a photo of a fish")
SEED = 1
GUIDANCE = 7.5
STEPS = {"cpu": 3}  # PNDM calls the UNet once more
STEPS_ELSEWHERE = 50  # the usual number, where that takes seconds
TIME_TARGET, MEMORY_TARGET = at_most(1.05), at_most(1.1)


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Time and peak memory of one image, at each size of network."""
    for network, repeats in compared_networks(config).items():
        pipe = load_network(network, device, choose_dtype("auto", device))
        prompt = encode_entry(pipe, ENTRY)
        judged = network != TINY
        steps = STEPS.get(device.type, STEPS_ELSEWHERE)
        sides = _sides(pipe, prompt, SamplerSettings(steps, GUIDANCE, generation_size(pipe, ())))
        yield from _times(title(network), sides, repeats, clock(device), judged)
        if can_be_measured(device):
            # The peak is that of one step: maps are summed in place.
            sides = _sides(pipe, prompt, SamplerSettings(1, GUIDANCE, generation_size(pipe, ())))
            yield from _peaks(title(network), alternate_peaks(sides, repeats, device), judged)


def _sides(
    pipe: DiffusionPipeline, prompt: EncodedPrompt, settings: SamplerSettings
) -> dict[str, Callable[[], object]]:
    return {
        "plain": partial(draw, pipe, prompt, [SEED], settings),
        "recording": partial(generate, pipe, prompt, [SEED], settings),
    }


def _times(
    name: str, sides: dict[str, Callable[[], object]], repeats: int, now: Clock, judged: bool
) -> Iterator[Line]:
    seconds = alternate(sides, repeats, now)
    yield line("a", f"{name}: the plain call for one image", seconds["plain"], "s")
    slower = ratios(seconds["recording"], seconds["plain"])
    target = TIME_TARGET if judged else None
    yield line("a", f"{name}: time with heatmap, against it", slower, "x", 1.0, target)


def _peaks(name: str, peaks: dict[str, list[Peak]], judged: bool) -> Iterator[Line]:
    plain, recording = (
        [peak.own / MEGABYTE for peak in peaks[side]] for side in ("plain", "recording")
    )
    yield line("a", f"{name}: the plain call's peak memory, besides the model", plain, "MB")
    target = MEMORY_TARGET if judged else None
    larger = ratios(recording, plain)
    yield line("a", f"{name}: peak memory with heatmap, against it", larger, "x", 1.0, target)

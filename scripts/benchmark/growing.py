"""Part g: how time and memory of steps 2 and 3 grow with the number of samples and the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from aligndiff.core.device import choose_dtype
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.diffusion.load import resolve_diffusion_model
from aligndiff.diffusion.pipeline import generation_size
from aligndiff.diffusion.sampling import SamplerSettings, encode_entry, generate
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.files import clear_masks
from aligndiff.refinement.plan import plan_refinements
from aligndiff.refinement.refine import refine_entry
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.segmenters.ssp.load import resolve_checkpoint
from aligndiff.segmenters.ssp.network import SSPConfig
from aligndiff.segmenters.ssp.segmenter import SSPSegmenter
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.generate import synthesize
from aligndiff.synthesis.plan import list_samples, plan_synthesis, prepare_folders
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.drawing import ENTRY, GUIDANCE
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.memory import KILOBYTE, MEGABYTE, can_be_measured, most_so_far, start_over
from scripts.benchmark.networks import (
    TINIEST,
    TINY,
    large_network,
    load_network,
    random_ssp,
    title,
)
from scripts.benchmark.scenes import scene, scene_pair
from scripts.benchmark.timing import alternate, clock
from scripts.example import copy_example
from scripts.reporting import Line

# Sizes of which the largest two are far from noise: from here on growth is judged.
JUDGED_FROM = 1000
LINEAR = at_most(1.25)  # price of a further sample, late over early
# KB that a further sample may hold: half of a heatmap of 128 px, so nothing image-like is kept.
FLAT = at_most(8.0)
# Step 3 keeps features for its second pass up to a limit; here it is reached within 100 samples.
FEATURE_MEMORY = 2**20
CATEGORY = "fish"
BATCH_STEPS = 4
SMALL_SSP = SSPConfig(width=4, blocks=(1, 1, 1))
SMALL_SIDE = TINIEST.side


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Both steps over numbers of samples on the smallest networks, then over batch sizes."""
    folder = copy_example(config.work_dir / "growth", texts_only=True)
    sizes = config.effort.sizes
    yield from _samples("step 2", grow_synthesis(folder, sizes, device), device)
    yield from _samples("step 3", grow_refinement(folder, sizes, device), device)
    yield from _drawing_batches(config, device)
    yield from _segmenting_batches(config, device)


def grow_synthesis(folder: Path, sizes: Sequence[int], device: torch.device) -> list[Point]:
    """Draw and write the first samples of one entry, again for each size."""
    pipe = load_network(TINIEST, device, choose_dtype("auto", device))
    bank = load_prompt_bank(folder, (CATEGORY,))
    config = SynthesisConfig(image_per_entry=sizes[-1], num_inference_steps=1)
    chosen = resolve_diffusion_model(TINY, None)  # for the records; the network is another one
    plans = plan_synthesis(bank, chosen, config, "float32")[:1]
    samples = list_samples(plans)
    prepare_folders(plans, samples, overwrite=True, whole=True)
    return grow(lambda size: synthesize(pipe, samples[:size], config, _unseen), sizes, device)


def grow_refinement(folder: Path, sizes: Sequence[int], device: torch.device) -> list[Point]:
    """Refine the first samples that `grow_synthesis` has left, again for each size."""
    seen = np.stack([scene(100 + number, SMALL_SIDE)[0] for number in range(4)])
    segmenter = SSPSegmenter(random_ssp(SMALL_SSP, seen), None, device, torch.float32)
    config = RefinementConfig()
    bank = load_prompt_bank(folder, (CATEGORY,))
    tiny = choose_segmenter(SegmenterOptions(fss_ckpt_path=TINY)).identity  # for the records, too
    plan = next(p for p in plan_refinements(bank, config, tiny, "float32") if p.samples)

    def refine(size: int) -> None:
        part = replace(plan, samples=plan.samples[:size])
        clear_masks(part)
        refine_entry(part, segmenter, config, FEATURE_MEMORY, _unseen)

    return grow(refine, sizes, device)


def grow(work: Callable[[int], object], sizes: Sequence[int], device: torch.device) -> list[Point]:
    """What `work(size)` takes for each of `sizes`, after a first one that warms up.

    Memory is 0 where it cannot be measured.
    """
    measurable, now = can_be_measured(device), clock(device)
    work(sizes[1])
    points = []
    for size in sizes:
        before = start_over(device) if measurable else 0
        started = now()
        work(size)
        seconds = now() - started
        points.append(Point(size, seconds, most_so_far(device) - before if measurable else 0))
    return points


def _samples(step: str, points: Sequence[Point], device: torch.device) -> Iterator[Line]:
    for point in points:
        yield line("g", f"{step}, {_count(point.size)}", [point.seconds], "s")
        if can_be_measured(device):
            what = f"{step}, {_count(point.size)}: peak memory, besides the model"
            yield line("g", what, [point.memory / MEGABYTE], "MB")
    judged = points[-1].size >= JUDGED_FROM
    between = f"{points[-2].size} to {points[-1].size} samples"
    yield line(
        "g",
        f"{step}, {between}: time of a further one, against {points[-3].size} to {points[-2].size}",
        [bend(points)],
        "x",
        1.0,
        LINEAR if judged else None,
    )
    if can_be_measured(device):
        held = price_of_memory(points[-2], points[-1]) / KILOBYTE
        what = f"{step}, {between}: memory that a further one holds"
        yield line("g", what, [held], "KB", 0.0, FLAT if judged else None)


def _drawing_batches(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """On a CPU the tiny model; elsewhere Stable Diffusion's topology, for which batches are."""
    network = TINY if device.type == "cpu" else large_network(config)
    pipe = load_network(network, device, choose_dtype("auto", device))
    prompt = encode_entry(pipe, ENTRY)
    settings = SamplerSettings(BATCH_STEPS, GUIDANCE, generation_size(pipe, ()))

    def work(size: int) -> object:
        return generate(pipe, prompt, range(size), settings)

    name = f"step 2, {title(network)}, {BATCH_STEPS} steps"
    yield from _batches(name, work, config, device)


def _segmenting_batches(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    checkpoint = load_ssp(Path(resolve_checkpoint(TINY, None).location))
    side = checkpoint.input_side or SMALL_SIDE
    images = [scene(number, side)[0] for number in range(max(config.effort.batches))]
    segmenter = SSPSegmenter(
        checkpoint.network, None, device, torch.float32, max(config.effort.batches)
    )
    pair = scene_pair(0, side)
    segmenter.set_support([segmenter.describe(segmenter.encode([pair.image])[0], pair.mask)])

    def work(size: int) -> object:
        return [segmenter.segment(one) for one in segmenter.encode(images[:size])]

    yield from _batches("step 3, tiny SSP", work, config, device)


def _batches(
    name: str, work: Callable[[int], object], config: BenchmarkConfig, device: torch.device
) -> Iterator[Line]:
    sizes = config.effort.batches
    sides = {str(size): partial(work, size) for size in sizes}
    seconds = alternate(sides, config.rounds, clock(device))
    for size in sizes:
        rates = [size / value for value in seconds[str(size)]]
        yield line("g", f"{name}, batch of {size}", rates, "images/s")
    if can_be_measured(device):
        points = grow(work, sizes, device)
        held = price_of_memory(points[-2], points[-1]) / MEGABYTE
        what = f"{name}: memory of a further image in the batch, {sizes[-2]} to {sizes[-1]}"
        yield line("g", what, [held], "MB")


def _count(size: int) -> str:
    return "1 sample" if size == 1 else f"{size} samples"


def _unseen(count: int = 1, category: str = "", *, status: str = "") -> None:
    """In place of a progress bar."""


@dataclass(frozen=True)
class Point:
    """What `size` of something took."""

    size: int
    seconds: float
    memory: int  # bytes at the peak, beside what was in use before


def price_of_time(smaller: Point, larger: Point) -> float:
    """Seconds of one more, between two sizes."""
    return (larger.seconds - smaller.seconds) / (larger.size - smaller.size)


def price_of_memory(smaller: Point, larger: Point) -> float:
    """Bytes that one more holds, between two sizes."""
    return (larger.memory - smaller.memory) / (larger.size - smaller.size)


def bend(points: Sequence[Point]) -> float:
    """The price of time between the two largest sizes over that between the two before.

    1 is linear, 10 is quadratic in sizes that grow tenfold. `points` are three or more, ascending.
    """
    before, middle, last = points[-3:]
    return price_of_time(middle, last) / price_of_time(before, middle)

"""The batch that step 2 chooses for the free memory, and what happens when one does not fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from aligndiff.core.device import free_memory
from aligndiff.dataset.images import read_image
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.diffusion.load import resolve_diffusion_model
from aligndiff.diffusion.pipeline import denoiser, image_size
from aligndiff.diffusion.sampling import (
    BYTES_PER_PIXEL,
    MOST_AT_ONCE,
    SamplerSettings,
    batch_that_fits,
    encode_entry,
    generate,
)
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.latents import encode_support
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.templates import training_texts
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.generate import BatchSize, synthesize
from aligndiff.synthesis.plan import Sample, list_samples, plan_synthesis, prepare_folders
from scripts.benchmark.full_networks import SD15, SMALL, stable_diffusion
from scripts.benchmark.memory import MEGABYTE, peak_of
from scripts.benchmark.scenes import scene_pair
from scripts.example import copy_example
from scripts.gpu_check.attempts import Attempt, Place
from scripts.gpu_check.config import Check
from scripts.gpu_check.lines import at_most, figure, left_out, tried
from scripts.gpu_check.pictures import ENTRY, GUIDANCE, grey_difference
from scripts.reporting import Line

CHECK: Check = "memory"
STEPS = 2
IMAGES = 16  # one batch of these is to be too much
VIEWS = 8  # of step 1 at once
ROOM_FOR = 3  # images by step 2's own estimate: it is to choose 2 of them
TEXTS = training_texts("fish", vectors=1)
CATEGORY = "fish"
# Rounding differs with the batch; a level of an 8-bit image now and then.
SAME = at_most(1.0)
NEEDS_A_CARD = "only a card's memory can be filled"


def attempts(place: Place) -> Iterator[Attempt]:
    pipe = stable_diffusion(SMALL if place.config.small else SD15, place.device, place.dtype)
    yield Attempt("the batch for the free memory", partial(_chosen, place, pipe), 15)
    for what, lines in {
        "the batch for little free memory": partial(_chosen_when_full, place, pipe),
        "step 2, a batch that does not fit": partial(_halved_drawing, place, pipe),
        "step 1, views that do not fit": partial(_halved_learning, place, pipe),
    }.items():
        if place.device.type == "cuda":
            yield Attempt(what, lines, 15)
        else:
            yield Attempt(what, partial(_untried, what))


def _untried(what: str) -> Sequence[Line]:
    return [left_out(CHECK, what, NEEDS_A_CARD)]


def _chosen(place: Place, pipe: Any) -> Iterator[Line]:
    """The most that pays, where the card has room; it takes no more than what was estimated."""
    settings = _settings(pipe)
    batch = batch_that_fits(pipe, settings.size)
    free = (free_memory(place.device) or 0) / 2**30
    told = f"{batch} images of {settings.size[0]} px with {free:.1f} GiB free"
    problems = [] if 1 <= batch <= MOST_AT_ONCE[place.device.type] else [told]
    yield tried(CHECK, "the batch that step 2 chooses", told, problems)
    prompt = encode_entry(pipe, ENTRY)
    if place.device.type != "cuda":
        generate(pipe, prompt, range(batch), settings)
        return
    peak = peak_of(lambda: generate(pipe, prompt, range(batch), settings), place.device)
    estimate = batch * _estimate(pipe, settings)
    told = f"{peak.own / MEGABYTE:.0f} MB of {estimate / MEGABYTE:.0f} MB"
    what = "the peak of such a batch, of what step 2 counts on"
    yield figure(CHECK, what, peak.own / estimate, "x", at_most(1.0), 1, told)


def _chosen_when_full(place: Place, pipe: Any) -> Iterator[Line]:
    """With the card filled but for a few images, the batch is small, and is drawn."""
    settings = _settings(pipe)
    with filled(place.device, ROOM_FOR * _estimate(pipe, settings)):
        batch = batch_that_fits(pipe, settings.size)
        problems = [] if 1 <= batch <= ROOM_FOR else [f"{batch} images at once"]
        generate(pipe, encode_entry(pipe, ENTRY), range(batch), settings)
    told = f"{batch} images, drawn"
    yield tried(CHECK, f"the card filled but for {ROOM_FOR} images", told, problems)


def _halved_drawing(place: Place, pipe: Any) -> Iterator[Line]:
    """Step 2 with a batch that cannot fit: smaller ones follow, and all samples are made."""
    whole = _samples(place, "whole")
    synthesize(pipe, whole, _config(2), _unseen)
    halved = _samples(place, "halved")
    batch = BatchSize()
    one = _one_image(place, pipe)
    with filled(place.device, 4 * one), _noted() as notes:
        report = synthesize(pipe, halved, _config(IMAGES), _unseen, batch)
    problems = []
    if report.failed or report.made != IMAGES:
        problems.append(f"{report.made} of {IMAGES} samples were made")
    if not any("out of memory" in note for note in notes):
        problems.append(f"{IMAGES} images at once did fit")
    told = f"all made, {IMAGES} at once became {batch.images}"
    yield tried(CHECK, f"step 2, room for about 4 images of {IMAGES} at once", told, problems)
    pairs = [(_image(one), _image(other)) for one, other in zip(halved, whole, strict=True)]
    difference = grey_difference([a for a, _ in pairs], [b for _, b in pairs])
    what = "the same images as with batches of 2: mean difference in grey levels"
    yield figure(CHECK, what, difference, "", SAME, len(pairs))


def _halved_learning(place: Place, pipe: Any) -> Iterator[Line]:
    """Step 1 with views that cannot fit at once: the same losses, to rounding."""
    side = _settings(pipe).size[0]
    support = encode_support(pipe, [scene_pair(0, side)], side)
    learn = partial(_losses, pipe, support)
    whole = learn(VIEWS)  # warms up, too
    least, most = (peak_of(partial(learn, views), place.device).own for views in (1, VIEWS))
    with filled(place.device, (least + most) // 2), _noted() as notes:
        halved = learn(VIEWS)
    problems = [] if any("out of memory" in note for note in notes) else [f"{VIEWS} did fit"]
    told = f"{sum('out of memory' in note for note in notes)} times halved"
    yield tried(CHECK, f"step 1, {VIEWS} views at once where half of them fit", told, problems)
    furthest = max(abs(a - b) for a, b in zip(halved, whole, strict=True))
    what = "its losses against those with room: greatest difference"
    yield figure(CHECK, what, furthest, "", at_most(0.01), len(halved))


def _losses(pipe: Any, support: Any, views: int) -> list[float]:
    config = InversionConfig(inversion_steps=2, inversion_train_bs=views, gradient_accumulation=1)
    generator = torch.Generator().manual_seed(0)
    return learn_vectors(pipe, TEXTS, support, config, config.bg_lambda[0], generator, _unseen)[1]


@contextmanager
def filled(device: torch.device, room: int) -> Iterator[None]:
    """While open, all of a card's free memory but `room` bytes is taken, by one tensor."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(device)[0]
    ballast = torch.empty(max(0, free - room), dtype=torch.uint8, device=device)
    try:
        yield
    finally:
        del ballast
        torch.cuda.empty_cache()


@contextmanager
def _noted() -> Iterator[list[str]]:
    """What the library warns of while open."""
    notes: list[str] = []

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    handler, logger = Notes(), logging.getLogger("aligndiff")
    logger.addHandler(handler)
    try:
        yield notes
    finally:
        logger.removeHandler(handler)


def _one_image(place: Place, pipe: Any) -> int:
    """Bytes that an image takes while it is drawn."""
    settings, prompt = _settings(pipe), encode_entry(pipe, ENTRY)
    draw = partial(generate, pipe, prompt, range(4), settings)
    draw()
    return peak_of(draw, place.device).own // 4


def _settings(pipe: Any) -> SamplerSettings:
    side = image_size(pipe)
    return SamplerSettings(STEPS, GUIDANCE, (side, side))


def _estimate(pipe: Any, settings: SamplerSettings) -> int:
    """Bytes that step 2 counts on for an image."""
    height, width = settings.size
    return height * width * BYTES_PER_PIXEL * int(denoiser(pipe).dtype.itemsize)


def _config(batch: int) -> SynthesisConfig:
    return SynthesisConfig(
        image_per_entry=IMAGES,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        batch_size=batch,
        image_format="png",
    )


def _samples(place: Place, name: str) -> list[Sample]:
    """Those of one entry in a dataset of its own."""
    folder = copy_example(place.config.work_dir / f"memory_{name}", texts_only=True)
    bank = load_prompt_bank(folder, (CATEGORY,))
    chosen = resolve_diffusion_model("tiny", None)  # for the records; the network is another one
    precision = str(place.dtype).removeprefix("torch.")
    plans = plan_synthesis(bank, chosen, _config(2), precision)[:1]
    samples = list_samples(plans)
    prepare_folders(plans, samples, overwrite=True, whole=True)
    return samples


def _image(sample: Sample) -> np.ndarray:
    return read_image(sample.plan.place.image_path(sample.index, "png"))


def _unseen(count: int = 1, category: str = "", *, status: str = "") -> None:
    """In place of a progress bar."""

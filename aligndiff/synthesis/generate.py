"""Step 2: images of every entry of the prompt bank, each with the heatmap of its category."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from aligndiff.core.console import Advance
from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.images import write_grey, write_image
from aligndiff.dataset.records import FailureRecord
from aligndiff.dataset.samples import HEATMAP_FILE, discard_sample
from aligndiff.dataset.support import load_support
from aligndiff.diffusion.families import steps_and_guidance
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.heatmaps.table import HEATMAPS
from aligndiff.synthesis.plan import EntryPlan, Sample, new_record

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from aligndiff.diffusion.prompts import EncodedPrompt
    from aligndiff.diffusion.sampling import GeneratedSample, SamplerSettings
    from aligndiff.synthesis.heatmaps.support import HeatmapDefinition

logger = logging.getLogger(__name__)

WRITERS = 2  # threads that encode and write images
NO_NUMBERS = "the model produced NaN (try --precision float32)"
NO_MEMORY = "out of memory with this image alone (try a smaller --side, or --precision bfloat16)"


@dataclass(frozen=True)
class SynthesisReport:
    """What a run did: how many samples it made, and those that failed."""

    made: int
    failed: tuple[Sample, ...]


@dataclass
class BatchSize:
    """How many images a process generates at once, as it finds out; kept from call to call."""

    images: int = 0  # 0: not known yet


def synthesize(
    pipe: DiffusionPipeline,
    samples: Sequence[Sample],
    config: SynthesisConfig,
    advance: Advance,
    batch_size: BatchSize | None = None,
) -> SynthesisReport:
    """Generate all `samples`, in batches of one entry, and write them meanwhile.

    A sample's files are its image, its heatmap and, last, its record; each appears whole. Of a
    sample for which the model produces NaN the reason is written instead, and the run goes on.
    Where the memory does not suffice, the batches become smaller. `advance` counts samples.
    """
    from aligndiff.diffusion.pipeline import family_of, generation_size, scheduled
    from aligndiff.diffusion.sampling import SamplerSettings, batch_that_fits, compiled

    low_high = config.guidance_interval
    settings = SamplerSettings(
        *steps_and_guidance(family_of(pipe), config),
        generation_size(pipe, config.side),
        (low_high[0], low_high[1]) if low_high else None,
    )
    batch = batch_size or BatchSize()
    # What torch keeps for itself after a first call would not count as free in a second one.
    batch.images = batch.images or config.batch_size or batch_that_fits(pipe, settings.size)
    failed: list[Sample] = []

    def outcomes() -> Iterator[tuple[Sample, GeneratedSample | str]]:
        # A compiled UNet keeps its shapes: its last batch is as large as the others.
        fill = config.compile
        for group, results in _generate_all(pipe, samples, batch, fill, settings):
            advance(len(group), group[0].plan.entry.category)
            for sample, result in zip(group, results, strict=True):
                if isinstance(result, str):
                    failed.append(sample)
                    logger.warning(_failure(sample, result))
                yield sample, result

    with (
        scheduled(pipe, config.scheduler),
        compiled(pipe) if config.compile else nullcontext(),
    ):
        write = partial(_write, image_format=config.image_format)
        for _ in prefetch_map(write, outcomes(), ahead=batch.images, threads=WRITERS):
            pass
    return SynthesisReport(len(samples) - len(failed), tuple(failed))


def _generate_all(
    pipe: DiffusionPipeline,
    samples: Sequence[Sample],
    batch_size: BatchSize,
    fill: bool,
    settings: SamplerSettings,
) -> Iterator[tuple[list[Sample], list[GeneratedSample | str]]]:
    """Batches of one entry, generated, or why not; each entry's prompt is encoded once.

    A batch is a whole block of the entry's samples, from a multiple of its size on, and what is
    not asked for of it is dropped: a sample has the same neighbours, and so the same last bits, in
    whichever process and after whatever interruption it is drawn. With `fill` the last block of an
    entry is generated as large as the others. A batch that does not fit in the memory is generated
    again as smaller ones, and so are all after it.
    """
    from aligndiff.diffusion.adapters import adapted

    for plan, group in itertools.groupby(samples, key=lambda sample: sample.plan):
        with adapted(pipe, plan.adaptation):
            yield from _generate_entry(pipe, plan, deque(group), batch_size, fill, settings)


def _generate_entry(
    pipe: DiffusionPipeline,
    plan: EntryPlan,
    queue: deque[Sample],
    batch_size: BatchSize,
    fill: bool,
    settings: SamplerSettings,
) -> Iterator[tuple[list[Sample], list[GeneratedSample | str]]]:
    """The batches of one entry; empties the queue."""
    from aligndiff.core.device import halve_batch, try_or_oom

    prompt = _encode(pipe, plan, settings.guidance_scale > 1)
    definition = learn_definition(pipe, prompt, plan, settings.size)
    while queue:
        size = batch_size.images
        start = queue[0].index - queue[0].index % size
        block = range(start, min(start + size, plan.count))
        seeds = [plan.sample(index).seed for index in block]
        seeds += seeds[-1:] * (size - len(block) if fill else 0)
        generated = try_or_oom(partial(_with_heatmaps, pipe, prompt, seeds, settings, definition))
        if generated is None and len(seeds) > 1:
            batch_size.images = halve_batch(len(seeds), "images")
            continue
        batch = []
        while queue and queue[0].index in block:
            batch.append(queue.popleft())
        if generated is None:
            yield batch, [NO_MEMORY]
        else:
            yield batch, [generated[sample.index - start] or NO_NUMBERS for sample in batch]


def learn_definition(
    pipe: DiffusionPipeline, prompt: EncodedPrompt, plan: EntryPlan, size: tuple[int, int]
) -> HeatmapDefinition | None:
    """The entry's definition of a heatmap, noted beside its record; None for the published one.

    Also None, with a note, where there are no support pairs.
    """
    name = plan.record.settings.get("heatmap", "method")
    if (module := HEATMAPS[name]) is None:
        return None
    place, entry = plan.place, plan.entry
    try:
        support = load_support(place.root / entry.support_dir, entry.mask_class, max(size))
    except InputError as error:
        logger.warning(
            "note: %s: heatmaps are the published ones, as there are no support masks (%s)",
            entry.id,
            error.problems[0],
        )
        return None
    definition: HeatmapDefinition = import_module(module).learn(pipe, prompt, support, size)
    write_json(place.folder / HEATMAP_FILE, definition.record(name))
    return definition


def _with_heatmaps(
    pipe: DiffusionPipeline,
    prompt: EncodedPrompt,
    seeds: Sequence[int],
    settings: SamplerSettings,
    definition: HeatmapDefinition | None,
) -> list[GeneratedSample | None]:
    """Generated samples, their heatmaps by the definition, if any."""
    from aligndiff.diffusion.sampling import generate

    samples = generate(pipe, prompt, seeds, settings)
    known = [at for at, sample in enumerate(samples) if sample is not None]
    if definition is None or not known:
        return samples
    images = np.stack([sample.image for sample in samples if sample is not None])
    heatmaps = definition.heatmaps(pipe, prompt, images, [seeds[at] for at in known])
    for at, heatmap in zip(known, heatmaps, strict=True):
        samples[at] = replace(samples[at], heatmap=heatmap)  # type: ignore[type-var]
    return samples


def _encode(pipe: DiffusionPipeline, plan: EntryPlan, guided: bool) -> EncodedPrompt:
    from aligndiff.diffusion.embeddings import load_embedding
    from aligndiff.diffusion.sampling import encode_entry

    embedding = None if plan.embedding is None else load_embedding(plan.embedding)
    return encode_entry(pipe, plan.entry, embedding, plan.negative_prompt, guided)


def _write(outcome: tuple[Sample, GeneratedSample | str], image_format: str) -> None:
    sample, result = outcome
    place, index = sample.plan.place, sample.index
    # A mask of step 3 that may still lie there belongs to another image.
    discard_sample(place, index)
    if isinstance(result, str):
        FailureRecord(2, result, index).write(place.failure_path(index))
        return
    write_image(place.image_path(index, image_format), result.image)
    write_grey(place.heatmap_path(index), result.heatmap)
    new_record(sample, image_format).write(place.record_path(index))


def _failure(sample: Sample, reason: str) -> str:
    entry, noted = sample.plan.entry, sample.plan.place.failure_path(sample.index)
    return f"failed: {entry.id} image {sample.index}: {reason}; noted in {noted}"

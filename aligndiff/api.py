"""The method from Python: from annotated photos to images with masks, in memory.

The same functions as the three steps, without their files. `import aligndiff` gives these names and
loads torch only when one of them is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from aligndiff.core.console import Advance
from aligndiff.core.device import halve_batch, try_or_oom
from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.dataset.entries import PLACEHOLDER, placeholder_tokens
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import StoredSample, sample_seed, stored_samples
from aligndiff.dataset.support import SupportPair, load_support
from aligndiff.diffusion.families import check_drawing, steps_and_guidance
from aligndiff.diffusion.load import DiffusionOptions, resolve_diffusion_model
from aligndiff.diffusion.load import load_diffusion_model as _load_pipeline
from aligndiff.diffusion.pipeline import family_of, generation_size, image_size, scheduled
from aligndiff.diffusion.sampling import (
    GeneratedSample,
    SamplerSettings,
    batch_that_fits,
    encode_prompts,
)
from aligndiff.diffusion.sampling import generate as _generate_batch
from aligndiff.diffusion.vectors import Embedding
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.latents import encode_support
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.probe import Probe
from aligndiff.inversion.templates import read_templates, training_texts
from aligndiff.inversion.views import views_of_each
from aligndiff.masks.edges.table import edge_settings
from aligndiff.refinement.config import DENOISING, RefinementConfig
from aligndiff.refinement.files import Query
from aligndiff.refinement.refine import refine
from aligndiff.segmenters.base import Segmenter, feature_memory
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter
from aligndiff.segmenters.load import load_segmenter as _load_segmenter
from aligndiff.synthesis.config import SynthesisConfig

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class RefinedMask:
    """What step 3 makes of a sample.

    Attributes:
        outcome: "consensus" (segmenter and heatmap agree), "pseudo_label", "rejected" or "failed".
        mask: bool (h, w); None of a rejected or failed sample.
        iou: of the segmenter's first mask with the heatmap, in [0, 1].
        reason: why there is no mask.
        likeness: of the object to the support's, in [0, 1]; None where none was found.
    """

    outcome: str
    mask: NDArray[np.bool_] | None
    iou: float | None
    reason: str | None
    likeness: float | None = None


def read_support(folder: str | Path) -> list[SupportPair]:
    """The annotated photos of a folder (1.jpg + 1.png, ...): images uint8 (h, w, 3), masks uint8
    (h, w) of 0 background, 1 object, 255 ignore.

    Raises InputError, one line for each file that is wrong.
    """
    return load_support(Path(folder))


def load_diffusion_model(
    name: str, device: str = "auto", precision: str = "auto", **options: Any
) -> DiffusionPipeline:
    """A text-to-image model: "tiny", a diffusers folder, a .safetensors file, or a hub name.

    `device` is auto, cpu, cuda or mps; `precision` auto, float32, bfloat16 or float16; `options`
    are the fields of `DiffusionOptions`, such as lora=("style.safetensors:0.8",). Raises InputError
    for a name that is none of these, MissingWeightsError when the weights are not there.
    """
    chosen = resolve_diffusion_model(name, None, DiffusionOptions(**options))
    return _load_pipeline(chosen, device, precision)


def learn_embedding(
    model: DiffusionPipeline,
    support: Sequence[SupportPair],
    category: str,
    advance: Advance | None = None,
    **options: Any,
) -> Embedding:
    """Step 1: learn the look of an object by normalized masked textual inversion (Eq. 3).

    Returns the embedding for `generate`: vectors, float32 (vectors, d), for each text encoder.
    `options` are the fields of `InversionConfig`, such as inversion_steps=500 and bg_lambda=0.6.
    `advance` is called after each step. Raises AlignDiffError when the loss is not finite.
    """
    weight = options.pop("bg_lambda", 0.6)
    if isinstance(word := options.get("initializer"), str):
        options["initializer"] = (word,)
    config = InversionConfig(bg_lambda=(weight,), **options)
    size = config.side or image_size(model)
    latents = encode_support(
        model, support, size, config.augment, config.seed, views_of_each(len(support))
    )
    generator = torch.Generator().manual_seed(sample_seed(config.seed, f"training {category}", 0))
    embedding, _ = learn_vectors(
        model,
        training_texts(category, config.vectors, read_templates(config.templates)),
        latents,
        config,
        weight,
        generator,
        advance or _silent,
        probe=Probe(model, latents, config) if config.patience else None,
    )
    return embedding


def generate(
    model: DiffusionPipeline,
    category: str,
    count: int,
    prompt: str | None = None,
    embedding: Embedding | None = None,
    **options: Any,
) -> list[GeneratedSample]:
    """Step 2: `count` images of an object, each with the heatmap of its category.

    A sample has `image`, uint8 (h, w, 3), and `heatmap`, uint8 (h, w). `prompt` must contain the
    category, and may say <fss-token> where the learned embedding goes; without one it is "a photo
    of a <category>", with the embedding before the category. `options` are the fields of
    `SynthesisConfig`, such as seed=0, guidance_scale=7.5 and num_inference_steps=50. Raises
    AlignDiffError when the model produces NaN or an image alone does not fit in the memory.
    """
    config = SynthesisConfig(**options)
    tokens = [] if embedding is None else placeholder_tokens(len(embedding))
    text = _prompt(prompt, tokens, category)
    family = family_of(model)
    steps, scale = steps_and_guidance(family, config)
    if problems := check_drawing(family, config.negative_prompt, config.side):
        raise InputError(problems)
    guided = scale > 1
    encoded = encode_prompts(model, text, category, embedding, config.negative_prompt, guided)
    size = generation_size(model, config.side)
    settings = SamplerSettings(steps, scale, size)
    seeds = [sample_seed(config.seed, category, index) for index in range(count)]
    batch = config.batch_size or batch_that_fits(model, size)
    samples: list[GeneratedSample] = []
    with scheduled(model, config.scheduler):
        while len(samples) < count:
            chosen = seeds[len(samples) : len(samples) + batch]
            results = try_or_oom(partial(_generate_batch, model, encoded, chosen, settings))
            if results is None and len(chosen) == 1:
                raise AlignDiffError("out of memory with one image alone: try a smaller side")
            if results is None:
                batch = halve_batch(len(chosen), "images")
                continue
            if None in results:
                raise AlignDiffError("the model produced NaN: load it with precision='float32'")
            samples += [result for result in results if result is not None]
    return samples


def load_segmenter(
    weights: str, segmenter: str = "ssp", device: str = "auto", precision: str = "auto"
) -> Segmenter:
    """A few-shot segmenter by its name, with `weights`: "tiny", or a checkpoint file.

    Raises MissingWeightsError when they are not there, InputError when they are not its own.
    """
    options = SegmenterOptions(segmenter=segmenter, fss_ckpt_path=weights)
    return _load_segmenter(choose_segmenter(options), device, precision)


def refine_masks(
    segmenter: Segmenter,
    support: Sequence[SupportPair],
    samples: Sequence[GeneratedSample],
    **options: Any,
) -> list[RefinedMask]:
    """Step 3: masks of generated samples by few-shot conditioned refinement (Algorithm 1).

    One result a sample, in their order. `options` are the fields of `RefinementConfig`, such as
    consensus_iou_threshold=0.8.
    """
    config = RefinementConfig(**options)
    if config.regions == DENOISING:
        raise InputError("regions: denoising needs a dataset folder; run scripts.mask_generation")
    queries = [
        Query(index, lambda s=sample: s.image, lambda s=sample: s.heatmap)  # type: ignore[misc]
        for index, sample in enumerate(samples)
    ]
    memory = feature_memory(segmenter.device)
    edges = edge_settings(config.refine_edges, config.edge_model, str(segmenter.device))
    results: dict[int, RefinedMask] = {}
    for verdict in refine(segmenter, support, queries, config, memory, edges):
        if verdict.outcome != "uncertain":
            results[verdict.index] = RefinedMask(
                verdict.outcome, verdict.mask, verdict.iou, verdict.reason, verdict.likeness
            )
    return [results[index] for index in range(len(samples))]


def read_dataset(dataset_dir: str | Path, status: str = "refined") -> Iterator[StoredSample]:
    """The samples that the three steps left in a dataset folder, loose or packed, entry by entry.

    A sample has `name`, `category`, `record`, and `read_image()`, `read_mask()`, `read_heatmap()`.
    `status` is "refined" (with a mask), "rejected" or "synthesized". Raises InputError for a folder
    or a record that cannot be read.
    """
    for sample in stored_samples(load_prompt_bank(dataset_dir)):
        if sample.record.status == status:
            yield sample


def _prompt(prompt: str | None, tokens: Sequence[str], category: str) -> str:
    """The prompt with its placeholder tokens spelled out."""
    if prompt is None:
        return " ".join(["a photo of a", *tokens, category])
    return prompt.replace(PLACEHOLDER, " ".join(tokens)) if tokens else prompt


def _silent(count: int = 1, category: str = "", *, status: str = "") -> None:
    return None

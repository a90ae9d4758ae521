"""The denoiser tuned together with the vectors, under the same Eq. 3 (`--adapt`).

What keeps it from forgetting what the category's plain word means are a few images that it
generated itself of that word, before: they take part in every step, each as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aligndiff.core.errors import AlignDiffError
from aligndiff.dataset.images import OBJECT, Uint8
from aligndiff.dataset.samples import sample_seed
from aligndiff.dataset.support import SupportPair
from aligndiff.inversion.config import AdaptConfig, InversionConfig
from aligndiff.inversion.plan import InversionJob

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

    from aligndiff.diffusion.prediction import NoiseSchedule
    from aligndiff.diffusion.prompts import EncodedPrompt
    from aligndiff.inversion.latents import Batch, SupportLatents

PRIOR_IMAGES = 24  # of the plain word; drawn in a minute or two, and enough to differ
DRAWN_AT_ONCE = 4


@dataclass(frozen=True)
class Prior:
    """What the model generated from the plain prompt of a category, and that prompt, encoded.

    weight: of the loss on these beside that on the support pairs.
    """

    latents: SupportLatents
    text: EncodedPrompt
    weight: float


@dataclass(frozen=True)
class Tuning:
    """What learns besides the vectors: weights of the denoiser, at an initial rate of their own.

    dtype: what the denoiser computes in, whatever the type of its weights is meanwhile.
    """

    weights: Sequence[Any]
    rate: float
    prior: Prior | None
    dtype: torch.dtype

    @property
    def group(self) -> dict[str, Any]:
        """The weights as a parameter group of an optimizer."""
        return {"params": self.weights, "lr": self.rate}


@contextmanager
def tuning(
    pipe: DiffusionPipeline, adapt: AdaptConfig, seed: int, prior: Prior | None
) -> Iterator[Tuning | None]:
    """While open, the denoiser learns too, if `adapt` says so; afterwards it is what it was.

    What it has learned is to be saved before. None where the vectors learn alone.
    """
    from aligndiff.diffusion.adapters import trainable
    from aligndiff.diffusion.pipeline import denoiser

    if adapt.adapt == "embedding":
        yield None
        return
    dtype = denoiser(pipe).dtype
    with trainable(pipe, adapt.adapt, adapt.lora_rank, seed) as weights:
        yield Tuning(weights, adapt.rate, prior, dtype)


def computing_dtype(pipe: DiffusionPipeline, tuned: Tuning | None) -> torch.dtype:
    """The number format that the denoiser computes in."""
    from aligndiff.diffusion.pipeline import denoiser

    dtype: torch.dtype = denoiser(pipe).dtype if tuned is None else tuned.dtype
    return dtype


def draw_prior(
    pipe: DiffusionPipeline, job: InversionJob, config: InversionConfig, adapt: AdaptConfig
) -> Prior | None:
    """Generate images of the plain word, as the contact sheet is drawn; None if they do not count.

    They are the same for every `bg_lambda`. Raises AlignDiffError when the model produces NaN.
    """
    import torch

    from aligndiff.diffusion.pipeline import generation_size
    from aligndiff.diffusion.prompts import encode
    from aligndiff.inversion.latents import encode_support

    if not adapt.draws:
        return None
    side, _ = generation_size(pipe, () if config.side is None else (config.side,))
    prompt = f"a photo of a {job.entry.category}"
    images = _draw(pipe, job, prompt, config.seed, side)
    whole = np.full((side, side), OBJECT, np.uint8)
    pairs = (SupportPair(str(index), image, whole) for index, image in enumerate(images))
    with torch.no_grad():
        text = encode(pipe, prompt)
    return Prior(encode_support(pipe, pairs, side), text, adapt.prior_weight)


def _draw(
    pipe: DiffusionPipeline, job: InversionJob, prompt: str, seed: int, side: int
) -> list[Uint8]:
    """PRIOR_IMAGES images of a prompt, uint8 (side, side, 3)."""
    import torch

    from aligndiff.diffusion.pipeline import scheduled
    from aligndiff.diffusion.prompts import encode
    from aligndiff.diffusion.sampling import SamplerSettings, draw

    drawn = ("num_inference_steps", "guidance_scale", "scheduler")
    steps, scale, scheduler = (job.settings[f"prior_{name}"] for name in drawn)
    with torch.no_grad():
        encoded = encode(pipe, prompt, guided=scale > 1)
    seeds = [sample_seed(seed, f"prior {prompt}", index) for index in range(PRIOR_IMAGES)]
    images = []
    for start in range(0, PRIOR_IMAGES, DRAWN_AT_ONCE):
        settings = SamplerSettings(steps, scale, (side, side))
        with scheduled(pipe, scheduler):
            batch = draw(pipe, encoded, seeds[start : start + DRAWN_AT_ONCE], settings)
        if not batch.isfinite().all():
            raise AlignDiffError("the model produced NaN: try --precision float32")
        images += [*(batch.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()]
    return images


def prior_batches(
    tuned: Tuning | None, schedule: NoiseSchedule, config: InversionConfig
) -> Iterator[Batch]:
    """A batch of the prior for each step; none where there is no prior."""
    import torch

    from aligndiff.inversion.latents import training_batches

    if tuned is None or tuned.prior is None:
        return iter(())
    generator = torch.Generator().manual_seed(sample_seed(config.seed, "prior", 0))
    return training_batches(
        tuned.prior.latents, schedule, config.inversion_steps, config.inversion_train_bs, generator
    )

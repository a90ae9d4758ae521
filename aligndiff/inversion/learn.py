"""Step 1: normalized masked textual inversion (Eq. 3 of the paper).

The vectors of a placeholder token are learned so that "a photo of a <fss-token> dog" shows the dog
of the support pairs. Everything else stays frozen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.console import Advance
from aligndiff.core.errors import AlignDiffError
from aligndiff.dataset.images import write_image
from aligndiff.dataset.layout import LOSS_PLOT
from aligndiff.dataset.records import InversionRecord
from aligndiff.dataset.samples import sample_seed
from aligndiff.dataset.support import find_pairs, load_pair
from aligndiff.inversion.adapt import Tuning, computing_dtype, draw_prior, prior_batches, tuning
from aligndiff.inversion.config import EMBEDDING_ALONE, AdaptConfig, InversionConfig
from aligndiff.inversion.learners import Learners
from aligndiff.inversion.plan import InversionJob, make_folder, noting_failures, replacing
from aligndiff.inversion.probe import Probe, learning_plot
from aligndiff.inversion.templates import TrainingTexts, shuffled_prompts
from aligndiff.inversion.views import views_of_each

# torch and diffusers are imported where they are used: the script reads its options from this file,
# and `--help` must not wait for them.
if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline
    from torch import Tensor
    from torch.amp import GradScaler

    from aligndiff.diffusion.prediction import Predict
    from aligndiff.diffusion.prompts import EncodedPrompt
    from aligndiff.diffusion.vectors import Embedding
    from aligndiff.inversion.latents import Batch, SupportLatents

# Losses stay on the device; every so many steps a mean comes over, for the bar and to stop on NaN.
STEPS_BETWEEN_CHECKS = 10
FLOAT16_LOSS_SCALE = 1024.0
NO_MEMORY = "out of memory: try --gradient_checkpointing, or a smaller --side"


def learn_vectors(
    pipe: DiffusionPipeline,
    texts: TrainingTexts,
    support: SupportLatents,
    config: InversionConfig,
    bg_lambda: float,
    generator: torch.Generator,
    advance: Advance,
    tuned: Tuning | None = None,
    probe: Probe | None = None,
) -> tuple[Embedding, list[float]]:
    """Minimise Eq. 3 over the placeholder's vectors, the only leaves; the prompts spell them out.

    With `tuned`, weights of the denoiser are leaves too, and a batch of its prior joins each step.
    `probe` collects its losses, and may end it before `config.inversion_steps`.

    Returns the vectors, on the CPU, and Eq. 3 of every optimizer step. All draws come from the
    CPU `generator`. A step that does not fit in the memory is taken again with fewer views at once:
    the same step to rounding. Raises AlignDiffError when the loss is not finite.
    """
    import torch

    from aligndiff.diffusion.pipeline import checkpointing, family_of
    from aligndiff.diffusion.prediction import NoiseSchedule, predicting
    from aligndiff.diffusion.prompts import encode
    from aligndiff.diffusion.vectors import initial_vectors
    from aligndiff.inversion.latents import training_batches

    embedding = initial_vectors(pipe, config.initializer, config.vectors)
    learners = Learners(pipe, embedding, texts.category, config, tuned)
    steps, accumulation = config.inversion_steps, config.gradient_accumulation
    scaler = _scaler(pipe, tuned)
    schedule = NoiseSchedule(pipe.scheduler, family_of(pipe).flow)
    count, size = steps * accumulation, config.inversion_train_bs
    levels = config.timestep_range
    batches = training_batches(support, schedule, count, size, generator, levels)
    remembered = prior_batches(tuned, schedule, config)
    prompts = shuffled_prompts(texts, config.seed)
    # Only where its heatmap counts is the category looked for.
    seen = texts.category if config.attention_loss else None
    losses = torch.zeros(steps, device=support.mean.device)
    with predicting(pipe) as predict, checkpointing(pipe, config.gradient_checkpointing):
        passes = _Passes(pipe, predict, bg_lambda, scaler, config, tuned)
        for step in range(steps):
            # The vectors are the same in every pass of a step: one way through the text encoders,
            # and one way back with the sum of the passes' gradients.
            text = encode(pipe, next(prompts), embedding, category=seen)
            gradients, losses[step] = passes.take(
                list(itertools.islice(batches, accumulation)), text, next(remembered, None)
            )
            if probe is not None and probe.is_due(step):
                probe.losses.append(passes.measure(probe.batch, text, texts.prompts[0]))
                if probe.says_stop:
                    losses = losses[: step + 1]
                    advance(steps - step, status=_checked_loss(losses, step))
                    break
            torch.autograd.backward(text.tensors(), gradients)
            learners.step(scaler)
            advance(1, status=_checked_loss(losses, step))
    return embedding.on_cpu(), [round(loss, 6) for loss in losses.tolist()]


def _scaler(pipe: DiffusionPipeline, tuned: Tuning | None) -> GradScaler:
    """Gradients below 6e-8 vanish in float16; elsewhere the scaler does nothing."""
    import torch

    half = computing_dtype(pipe, tuned) == torch.float16
    return torch.amp.GradScaler(pipe.device.type, enabled=half, init_scale=FLOAT16_LOSS_SCALE)


@dataclass
class _Passes:
    """The passes of an optimizer step through the model: at most `views` support views in one."""

    pipe: DiffusionPipeline
    predict: Predict
    bg_lambda: float
    scaler: GradScaler
    config: InversionConfig
    tuned: Tuning | None = None

    def __post_init__(self) -> None:
        self.views = self.config.inversion_train_bs

    def take(
        self, batches: Sequence[Batch], text: EncodedPrompt, remembered: Batch | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Of the mean loss of a step's batches: its gradients by `text.tensors()`, scaled; itself.

        The gradients by weights that are tuned are left in them; `remembered` is a batch of their
        prior, which does not count in the loss that is returned. Where the memory does not suffice
        all of it is taken again, with half as many views at once from then on. With one alone that
        is raised.
        """
        from aligndiff.core.device import halve_batch, try_or_oom

        while self.views > 1:
            result = try_or_oom(partial(self._take, batches, text, remembered))
            if result is not None:
                return result
            self.views = halve_batch(self.views, "views")
        return self._take(batches, text, remembered)

    def _take(
        self, batches: Sequence[Batch], text: EncodedPrompt, remembered: Batch | None
    ) -> tuple[list[Tensor], Tensor]:
        import torch

        for weight in self.tuned.weights if self.tuned else ():
            weight.grad = None  # what an attempt that did not fit has left
        leaf = text.leaf()
        total = torch.zeros((), device=batches[0].noisy.device)
        for batch in batches:
            share = 1 / len(batches)
            total += self._backward(batch, leaf, self.bg_lambda, share, self.config.attention_loss)
        if remembered is not None and self.tuned is not None and self.tuned.prior is not None:
            prior = self.tuned.prior
            self._backward(remembered, prior.text, 0.0, prior.weight)
        # What the model does not read, such as the pooled vector of a family that has none.
        gradients = [
            torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            for tensor in leaf.tensors()
        ]
        return gradients, total

    def _backward(
        self,
        batch: Batch,
        text: EncodedPrompt,
        bg_lambda: float,
        weight: float,
        attention: float = 0.0,
    ) -> Tensor:
        """Add the gradients of `weight` times a batch's loss, scaled; returns its Eq. 3 alone."""
        import torch

        from aligndiff.inversion.loss import batch_loss, batch_losses

        total = torch.zeros((), device=batch.noisy.device)
        for part in self._parts(batch):
            share = weight * len(part.noisy) / len(batch.noisy)
            inputs = (self.pipe, self.predict, part, text, bg_lambda)
            if attention:
                loss, drawn = batch_losses(*inputs)
                whole = (loss + attention * drawn) * share
                loss = loss * share
            else:
                whole = loss = batch_loss(*inputs) * share
            self.scaler.scale(whole).backward()
            total += loss.detach()
        return total

    def measure(self, batch: Batch, text: EncodedPrompt, prompt: str) -> float:
        """Eq. 3 of a batch under a prompt, without gradients; `text` if it is that one."""
        import torch

        from aligndiff.diffusion.prompts import encode
        from aligndiff.inversion.loss import batch_loss

        with torch.no_grad():
            if text.prompt != prompt:
                text = encode(self.pipe, prompt, text.embedding)
            losses = [
                batch_loss(self.pipe, self.predict, part, text, self.bg_lambda) * len(part.noisy)
                for part in self._parts(batch)
            ]
        return float(torch.stack(losses).sum()) / len(batch.noisy)

    def _parts(self, batch: Batch) -> list[Batch]:
        """The batch in as many views as the memory and the family take at once."""
        from aligndiff.diffusion.pipeline import views_at_once

        return batch.split(views_at_once(self.pipe, self.views))


def learn_object(
    pipe: DiffusionPipeline,
    jobs: Sequence[InversionJob],
    config: InversionConfig,
    advance: Advance,
    adapt: AdaptConfig = EMBEDDING_ALONE,
) -> dict[Path, str]:
    """Learn every embedding of one object that is not there yet: the jobs of `plan_jobs`.

    The support pairs are encoded, and the prior is drawn, once for all of them. A job that fails
    leaves its reason beside what was there and does not stop the next. Returns why, by the job's
    folder.
    """
    from aligndiff.diffusion.pipeline import generation_size
    from aligndiff.inversion.latents import encode_support

    failed: dict[Path, str] = {}
    support = prior = None
    for job in jobs:
        if job.is_learned:
            continue
        with noting_failures(failed, job, NO_MEMORY):
            if support is None:
                size, _ = generation_size(pipe, () if config.side is None else (config.side,))
                paths = find_pairs(job.support_dir, job.entry.mask_class)
                pairs = map(job.view, map(load_pair, paths))
                prior = draw_prior(pipe, job, config, adapt)
                views = views_of_each(len(paths))
                support = encode_support(pipe, pairs, size, config.augment, config.seed, views)
            with tuning(pipe, adapt, config.seed, prior) as tuned:
                _learn_job(pipe, job, support, config, advance, tuned)
    return failed


def _learn_job(
    pipe: DiffusionPipeline,
    job: InversionJob,
    support: SupportLatents,
    config: InversionConfig,
    advance: Advance,
    tuned: Tuning | None,
) -> None:
    """Learn one embedding, and put it with its record and its loss curve where it belongs."""
    import torch

    from aligndiff.diffusion.adapters import save_adaptation
    from aligndiff.diffusion.embeddings import save_embedding
    from aligndiff.diffusion.pipeline import family_of

    # bg_lambda does not enter the seed: every value of a sweep trains on the same draws.
    seed = sample_seed(config.seed, f"training {job.entry.path}", 0)
    generator = torch.Generator().manual_seed(seed)
    probe = Probe(pipe, support, config)

    shown = partial(advance, category=job.entry.category)
    embedding, losses = learn_vectors(
        pipe, job.texts, support, config, job.bg_lambda, generator, shown, tuned, probe
    )
    make_folder(job)
    ran_on = f"{pipe.device.type} {computing_dtype(pipe, tuned)}".replace("torch.", "")
    with replacing(job.folder) as new:
        record = InversionRecord(job.settings, ran_on, tuple(losses), probe.curve)
        record.write(new)
        write_image(new / LOSS_PLOT, learning_plot(record, f"bg_lambda {job.bg_lambda:g}"))
        if job.adaptation is not None:
            save_adaptation(pipe, new / job.adaptation.name)
        model = str(job.settings["diffusion_model"])
        save_embedding(new / job.embedding.name, embedding, job.entry.token, family_of(pipe), model)


def _checked_loss(losses: torch.Tensor, step: int) -> str:
    """The mean loss of the last steps for the bar, "" between two checks. Raises when it is NaN."""
    since = max(0, step + 1 - STEPS_BETWEEN_CHECKS)
    if (step + 1) % STEPS_BETWEEN_CHECKS and step + 1 < len(losses):
        return ""
    mean = losses[since : step + 1].mean().item()
    if not math.isfinite(mean):
        raise AlignDiffError(
            f"the loss is not a number any more, by step {step + 1} of {len(losses)}: "
            "try --precision float32, or a smaller --inversion_lr"
        )
    return f"loss {mean:.4f}"

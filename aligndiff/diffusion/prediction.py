"""What a model predicts of noisy latents, by its pipeline's own call up to the scheduler.

What arrives at `scheduler.step` is noise - latents for every flow-matching pipeline, whatever sign
and order its network has, and epsilon, v or the sample by the scheduler's configuration elsewhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aligndiff.core.errors import AlignDiffError
from aligndiff.diffusion.latents import pipeline_form
from aligndiff.diffusion.prompts import EncodedPrompt, call_arguments, reading

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

Predict = Callable[[EncodedPrompt, Tensor, Tensor], Tensor]


class NoiseSchedule:
    """A model's noise levels, and latents noised, by its scheduler's configuration."""

    def __init__(self, scheduler: SchedulerMixin, flow: bool) -> None:
        """`flow`: flow matching, as in `Family`."""
        from diffusers import DDPMScheduler

        config: Any = scheduler.config
        self._flow = flow
        self.steps = int(config.num_train_timesteps)  # how many noise levels there are
        if self._flow:
            dynamic = config.get("use_dynamic_shifting", False)
            self._shift = 1.0 if dynamic else config.get("shift", config.get("flow_shift", 1.0))
        else:
            self._ddpm = DDPMScheduler.from_config(config)

    def timesteps(self, levels: Tensor) -> Tensor:
        """As the model counts them, of `levels` int64 (b,) in [0, steps): (b,)."""
        return self._sigma(levels) * self.steps if self._flow else levels

    def _sigma(self, levels: Tensor) -> Tensor:
        """The share of noise, float32 (b,) in (0, 1], of flow matching."""
        even = (levels + 1).float() / self.steps
        return self._shift * even / (1 + (self._shift - 1) * even)

    def noised(self, latents: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Latents (b, c, h, w) with their noise."""
        if not self._flow:
            return self._ddpm.add_noise(latents, noise, levels)
        sigma = self._sigma(levels)[:, None, None, None]
        return (1 - sigma) * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """What the model should predict of them, (b, c, h, w)."""
        if self._flow:
            return noise - latents
        kind = self._ddpm.config.prediction_type
        if kind == "v_prediction":
            return self._ddpm.get_velocity(latents, noise, levels)
        return latents if kind == "sample" else noise


class _ReachedError(Exception):
    """The pipeline's call has come to its scheduler's step."""

    def __init__(self, prediction: Tensor) -> None:
        self.prediction = prediction


@contextmanager
def predicting(pipe: Any) -> Iterator[Predict]:
    """While open, `predict(prompt, noisy, timesteps)` is what the model makes of noisy latents.

    `noisy` is (b, c, h, w), `timesteps` (b,); the result has the form of `prediction_form`, and a
    graph to what asks for gradients. Afterwards the pipeline has its own scheduler again.
    """
    own = pipe.scheduler
    call = inspect.unwrap(type(pipe).__call__)  # without its no_grad

    def predict(prompt: EncodedPrompt, noisy: Tensor, timesteps: Tensor) -> Tensor:
        pipe.scheduler.levels = timesteps[None] if len(timesteps) > 1 else timesteps
        scale = int(pipe.vae_scale_factor)
        size = noisy.shape[-2] * scale, noisy.shape[-1] * scale
        arguments = call_arguments(pipe, prompt, len(noisy), size, guidance_scale=1.0)
        arguments["latents"] = pipeline_form(pipe, noisy)
        try:
            with reading(pipe, prompt):
                call(pipe, **arguments, num_inference_steps=1, output_type="latent")
        except _ReachedError as reached:
            return reached.prediction
        raise AlignDiffError(f"{type(pipe).__name__} drew without a step of its scheduler")

    pipe.scheduler = _stopping(own)
    try:
        yield predict
    finally:
        pipe.scheduler = own


def _stopping(own: Any) -> Any:
    """A scheduler with one step, at given noise levels, which raises what the model predicts."""

    class Stopping(type(own)):  # type: ignore[misc]
        init_noise_sigma = 1.0
        levels = torch.zeros(1)

        def set_timesteps(
            self,
            num_inference_steps: int | None = None,
            device: Any = None,
            sigmas: Any = None,
            mu: Any = None,
            timesteps: Any = None,
            **_: Any,
        ) -> None:
            self.timesteps = self.levels.to(device)
            self.sigmas = self.levels.new_ones(2).float()
            self.num_inference_steps = 1
            self._step_index = self._begin_index = None

        def scale_model_input(self, sample: Tensor, *_: Any, **__: Any) -> Tensor:
            return sample

        def step(self, model_output: Tensor, *_: Any, **__: Any) -> None:
            raise _ReachedError(model_output)

    return Stopping.from_config(dict(own.config))

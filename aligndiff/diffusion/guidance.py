"""Guidance on some noise levels only: elsewhere the unconditional half is not computed.

Guidance shapes an image at middle noise levels; on nearly pure noise and on nearly finished images
it changes little ("Applying Guidance in a Limited Interval Improves Sample and Distribution Quality
in Diffusion Models", NeurIPS 2024).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aligndiff.diffusion.attention import skip_unconditional_call
from aligndiff.diffusion.pipeline import denoiser, family_of, is_guided

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Interval = tuple[float, float]  # the lowest and the highest guided noise level, of 1000


@contextmanager
def guided_within(
    pipe: DiffusionPipeline, interval: Interval | None, guidance_scale: float, samples: int
) -> Iterator[None]:
    """While open, a call of the pipeline for `samples` images is guided within `interval` only.

    Outside it the denoiser sees the conditional half alone, and its answer stands for both: what
    guidance makes of two equal halves is either of them. None: guided everywhere.
    """
    if interval is None or not is_guided(pipe, guidance_scale):
        yield
        return
    name = "unet" if getattr(pipe, "transformer", None) is None else "transformer"
    network = denoiser(pipe)
    # Past the pipeline's own way of setting a component, which would note its class.
    object.__setattr__(pipe, name, _StandIn(pipe, network, interval, samples))
    try:
        yield
    finally:
        object.__setattr__(pipe, name, network)


class _StandIn:
    """In place of a pipeline's denoiser, which it asks for half as much outside the interval."""

    def __init__(self, pipe: Any, network: Any, interval: Interval, samples: int) -> None:
        conditional = family_of(pipe).conditional
        self._scheduler, self._network, self._interval = pipe.scheduler, network, interval
        self._turns = 2 if conditional == "first call" else 1  # calls of a step
        self._rows = 2 * samples  # of a batch of both halves
        self._half = slice(samples) if conditional == "first" else slice(samples, None)
        self._calls = 0
        self._guided: list[bool] = []  # by step
        self._answer: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._guided:
            low, high = self._interval
            levels = self._scheduler.timesteps.tolist()
            self._guided = [low <= level <= high for level in levels]
        step, turn = divmod(self._calls, self._turns)
        self._calls += 1
        if self._guided[step]:
            return self._network(*args, **kwargs)
        if self._turns == 1:
            half = self._network(*_halved(args, self), **_halved(kwargs, self))
            return _doubled(half)
        if turn == 0:
            self._answer = self._network(*args, **kwargs)
        else:
            skip_unconditional_call()
        return self._answer

    def takes(self, value: Any) -> bool:
        """Whether an argument has a row for each image of both halves."""
        if isinstance(value, Tensor):
            return value.ndim > 0 and len(value) == self._rows
        is_list = isinstance(value, list) and len(value) == self._rows
        return is_list and all(isinstance(item, Tensor) for item in value)

    def conditional(self, value: Any) -> Any:
        """The conditional rows of such an argument."""
        return value[self._half]


def _halved(value: Any, batch: _StandIn) -> Any:
    """Arguments, however nested, with the conditional rows alone."""
    if batch.takes(value):
        return batch.conditional(value)
    if isinstance(value, dict):
        return {name: _halved(item, batch) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_halved(item, batch) for item in value)
    return value


def _doubled(value: Any) -> Any:
    """An answer to the conditional rows as one to both halves."""
    if isinstance(value, Tensor):
        return torch.cat([value, value])
    if isinstance(value, list):
        return value + value
    return tuple(_doubled(item) for item in value)

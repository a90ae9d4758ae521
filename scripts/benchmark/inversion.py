"""Part c: a micro-step of step 1 against forward and backward of its networks alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from aligndiff.core.device import choose_dtype
from aligndiff.diffusion.pipeline import denoiser, image_size, text_encoders
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.latents import encode_support
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.templates import training_texts
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.networks import TINY, compared_networks, load_network, title
from scripts.benchmark.scenes import scene_pair
from scripts.benchmark.timing import Clock, clock, ratios
from scripts.reporting import Line

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

BATCH = 2
MOST_SIDE = 512  # px: families of 1024 px would take minutes a step on a CPU
TEXTS = training_texts("fish", vectors=1)
FLOOR, TARGET = 1.0, at_most(1.06)


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Seconds of a micro-step, and its ratio to the networks alone, for each kind of network."""
    for network, repeats in compared_networks(config).items():
        pipe = load_network(network, device, choose_dtype("auto", device))
        step, bare = learn(pipe, repeats, clock(device))
        yield line(
            "c", f"{title(network)}: networks' forward and backward, batch {BATCH}", bare, "s"
        )
        yield line(
            "c",
            f"{title(network)}: a micro-step, against it",
            ratios(step, bare),
            "x",
            floor=FLOOR,
            target=None if network == TINY else TARGET,
        )


def learn(
    pipe: DiffusionPipeline, repeats: int, now: Clock, most: int = MOST_SIDE
) -> tuple[list[float], list[float]]:
    """Seconds of `repeats` micro-steps, and of the networks alone after each of them.

    Images have the model's own side, or `most` pixels where that is larger.

    The stage itself learns. It reports every step, and while it waits for that to be done, the
    networks run alone, on what they were given in the first step. The first two pairs are left out:
    one has nothing to compare with, the other warms up.
    """
    size = min(image_size(pipe), most)
    support = encode_support(pipe, [scene_pair(0, size)], size)
    with NetworksAlone(pipe) as alone:
        watch = _Watch(alone.run, now)
        config = InversionConfig(
            side=size,
            inversion_steps=repeats + 2,
            inversion_train_bs=BATCH,
            gradient_accumulation=1,
        )
        generator = torch.Generator().manual_seed(0)
        learn_vectors(pipe, TEXTS, support, config, config.bg_lambda[0], generator, watch)
    return watch.step[2:], watch.bare[2:]


class NetworksAlone:
    """Keeps what denoiser and text encoders are given, and runs them on it, forward and backward.

    While open, the first call of each is kept.
    """

    def __init__(self, pipe: DiffusionPipeline) -> None:
        self._encoders = list(text_encoders(pipe).values())
        self._denoiser = denoiser(pipe)
        self._calls: dict[int, tuple[Any, Any]] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> NetworksAlone:
        for network in (*self._encoders, self._denoiser):
            hook = network.register_forward_pre_hook(self._keep, prepend=True, with_kwargs=True)
            self._handles.append(hook)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, network: Any, args: Any, kwargs: Any) -> None:
        # Placeholder tokens are beyond the table of an encoder whose vectors are being learned.
        known = getattr(network, "get_input_embeddings", None)
        size = known().num_embeddings if known and network in self._encoders else None
        kept = pytree.tree_map(lambda item: _detached(item, size), (args, kwargs))
        self._calls.setdefault(id(network), kept)

    def run(self) -> None:
        """One pass of each that was called, to the token tables and to the encoded text."""
        for encoder in self._encoders:
            if id(encoder) in self._calls:
                table = encoder.get_input_embeddings().weight.requires_grad_()
                self._pass(encoder)
                table.requires_grad_(False).grad = None
        self._pass(self._denoiser)

    def _pass(self, network: Any) -> None:
        args, kwargs = self._calls[id(network)]
        answer = network(*args, **kwargs)
        first = next(
            item
            for item in pytree.tree_leaves(answer if isinstance(answer, tuple) else answer[0])
            if isinstance(item, torch.Tensor) and item.requires_grad
        )
        first.backward(torch.ones_like(first))


def _detached(item: Any, tokens: int | None) -> Any:
    """A tensor cut from its graph, as a leaf where it had one; ids within a table of `tokens`."""
    if not isinstance(item, torch.Tensor):
        return item
    if not item.is_floating_point():
        return item if tokens is None else item.clamp(max=tokens - 1)
    return item.detach().requires_grad_(item.requires_grad)


@dataclass
class _Watch:
    """Takes the place of a progress bar: times the step that has ended, then runs `alone`."""

    alone: Callable[[], None]
    now: Clock
    step: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._started = self.now()

    def __call__(self, count: int = 1, category: str = "", *, status: str = "") -> None:
        ended = self.now()
        self.step.append(ended - self._started)
        self.alone()
        self._started = self.now()
        self.bare.append(self._started - ended)

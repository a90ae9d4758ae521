"""Part c: a micro-step of step 1 as the stage does it, against the UNet's forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from aligndiff.core.device import choose_dtype
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.latents import encode_support
from aligndiff.inversion.learn import learn_vectors
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.networks import TINY, compared_networks, load_network, title
from scripts.benchmark.scenes import scene_pair
from scripts.benchmark.timing import Clock, clock, ratios
from scripts.reporting import Line

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

BATCH = 2
PROMPT = "a photo of a <fss-token> fish"
FLOOR, TARGET = 1.0, at_most(1.06)


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Seconds of a micro-step, and its ratio to the UNet alone, at each size of network."""
    for network, repeats in compared_networks(config).items():
        pipe = load_network(network, device, choose_dtype("auto", device))
        step, bare = learn(pipe, repeats, clock(device))
        yield line("c", f"{title(network)}: UNet's forward and backward, batch {BATCH}", bare, "s")
        yield line(
            "c",
            f"{title(network)}: a micro-step, against it",
            ratios(step, bare),
            "x",
            floor=FLOOR,
            target=None if network == TINY else TARGET,
        )


def learn(
    pipe: StableDiffusionPipeline, repeats: int, now: Clock
) -> tuple[list[float], list[float]]:
    """Seconds of `repeats` micro-steps, and of the UNet alone after each of them.

    The stage itself learns. It reports every step, and while it waits for that to be done, the
    UNet runs alone. The first pair is left out: it warms up.
    """
    size = int(pipe.unet.config.sample_size) * pipe.vae_scale_factor
    support = encode_support(pipe, [scene_pair(0, size)], size)
    watch = _Watch(unet_alone(pipe), now)
    config = InversionConfig(
        inversion_steps=repeats + 1, inversion_train_bs=BATCH, gradient_accumulation=1
    )
    generator = torch.Generator().manual_seed(0)
    learn_vectors(pipe, PROMPT, support, config, config.bg_lambda[0], generator, watch)
    return watch.step[1:], watch.bare[1:]


def unet_alone(pipe: StableDiffusionPipeline) -> Callable[[], None]:
    """One forward pass of BATCH latents and the backward pass to the text embedding."""
    unet = pipe.unet
    cells, width = unet.config.sample_size, unet.config.cross_attention_dim
    like = {"device": unet.device, "dtype": unet.dtype}
    noisy = torch.randn(BATCH, unet.config.in_channels, cells, cells).to(**like)
    text = torch.randn(1, pipe.tokenizer.model_max_length, width).to(**like).requires_grad_()
    timesteps = torch.full((BATCH,), 500, device=unet.device)

    def run() -> None:
        states = text.expand(BATCH, -1, -1)
        answer = unet(noisy, timesteps, encoder_hidden_states=states, return_dict=False)[0]
        answer.backward(torch.ones_like(answer))

    return run


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

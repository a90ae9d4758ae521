"""How the weights of a segmenter move in training, and which of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from aligndiff.segmenters.ssp.loss import LossWeights
from aligndiff.segmenters.ssp.network import SSP


@dataclass(frozen=True)
class Recipe:
    """An optimizer, its learning rate along the run, the loss, and what stays as it is."""

    optimizer: Callable[..., Optimizer]  # of the parameters and lr=
    rate: float  # the learning rate at its highest
    schedule: Callable[[int, int], float]  # (step, steps) to a factor of the rate
    loss: LossWeights
    frozen: tuple[str, ...]  # layers whose weights stay
    batch_norm_learns: bool
    clip_norm: float | None  # largest norm of a step's gradients


def step_decay(step: int, steps: int) -> float:
    """Factor of the learning rate: a tenth after each third of the steps, as in SSP's training."""
    return 0.1 ** ((step >= steps // 3) + (step >= 2 * steps // 3))


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine to 2 % of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))


# SSP's published training: from ImageNet weights or better, with the statistics, scales and shifts
# of every batch normalisation and the first two layers as they are. There 24,000 episodes, four a
# step, on views of 473 px.
FINETUNE = Recipe(
    optimizer=partial(SGD, momentum=0.9, weight_decay=5e-4),
    rate=1e-3,
    schedule=step_decay,
    loss=LossWeights(),
    frozen=("layer0", "layer1"),
    batch_norm_learns=False,
    clip_norm=None,
)
# What made the tiny segmenter: random weights need batch normalisation that learns, every layer,
# and a warm-up.
SCRATCH = Recipe(
    optimizer=partial(AdamW, weight_decay=1e-2),
    rate=2e-3,
    schedule=partial(warmup_cosine, warmup=100),
    loss=LossWeights(first_round=0.4, query_itself=0, support_itself=0),
    frozen=(),
    batch_norm_learns=True,
    clip_norm=1.0,
)


def prepare_to_learn(network: SSP, recipe: Recipe) -> list[nn.Parameter]:
    """Put `network` into training mode, freeze what stays; returns the parameters that learn."""
    network.train()
    for name in recipe.frozen:
        network.get_submodule(name).requires_grad_(False)
    if not recipe.batch_norm_learns:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]

"""The optimizers of a training run: of the vectors, and of what is tuned beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from aligndiff.inversion.adapt import Tuning
from aligndiff.inversion.config import InversionConfig

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch.amp import GradScaler
    from torch.optim import Optimizer

    from aligndiff.diffusion.vectors import Embedding


class Learners:
    """AdamW of the method's recipe, or `DirectionSGD` for the vectors.

    The rates fall to 0 along a cosine, without warm-up.
    """

    def __init__(
        self,
        pipe: DiffusionPipeline,
        embedding: Embedding,
        category: str,
        config: InversionConfig,
        tuned: Tuning | None,
    ) -> None:
        from torch.optim import AdamW
        from torch.optim.lr_scheduler import LambdaLR

        leaves = [vectors.requires_grad_() for vectors in embedding.vectors.values()]
        groups: list[dict[str, Any]] = []
        self._all: list[Optimizer] = []
        if config.inversion == "direction":
            self._all.append(_direction_sgd(pipe, embedding, category, config.rate))
        else:
            groups.append({"params": leaves})
        if tuned is not None:
            groups.append(tuned.group)
        if groups:
            recipe: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}
            self._all.append(AdamW(groups, lr=config.rate, **recipe))
        turn = math.pi / config.inversion_steps
        self._cosines = [
            LambdaLR(optimizer, lambda step: (1 + math.cos(turn * step)) / 2)
            for optimizer in self._all
        ]

    def step(self, scaler: GradScaler) -> None:
        """Learn from the gradients, and forget them."""
        for optimizer in self._all:
            scaler.step(optimizer)
        scaler.update()
        for optimizer, cosine in zip(self._all, self._cosines, strict=True):
            optimizer.zero_grad()
            cosine.step()


def _direction_sgd(
    pipe: DiffusionPipeline, embedding: Embedding, category: str, rate: float
) -> Optimizer:
    """The optimizer of the vectors' direction, pulled to that of the category."""
    from aligndiff.diffusion.vectors import mean_lengths, word_directions
    from aligndiff.inversion.direction import DirectionSGD

    lengths, directions = mean_lengths(pipe), word_directions(pipe, category)
    groups = [
        {"params": [vectors], "length": lengths[name], "towards": directions[name]}
        for name, vectors in embedding.vectors.items()
    ]
    return DirectionSGD(groups, rate)

"""Directional textual inversion (Kim et al., ICLR 2026): only the vectors' direction is learned.

Long vectors drown the rest of a prompt, so their length stays the vocabulary's mean, and steps of
Riemannian gradient descent turn them on the sphere. The prior, a von Mises-Fisher density around
the class word, adds a constant pull to the gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

KAPPA = 1e-4  # concentration of the prior, the published value


class DirectionSGD(Optimizer):
    """Turns vectors, (n, d) a group, whose `length` stays; a step turns each by `lr` radians.

    A group's `towards`, (d,) of length 1, is where its vectors are pulled.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, kappa: float = KAPPA) -> None:
        super().__init__(groups, {"lr": lr, "kappa": kappa})
        for group in self.param_groups:
            for vectors in group["params"]:
                vectors.data = functional.normalize(vectors.data, dim=-1) * group["length"]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            pull, length = group["kappa"] * group["towards"], group["length"]
            for vectors in group["params"]:
                unit = functional.normalize(vectors, dim=-1)
                slope = tangent(vectors.grad * length - pull, unit)
                turned = unit - group["lr"] * functional.normalize(slope, dim=-1)
                vectors.copy_(functional.normalize(turned, dim=-1) * length)


def tangent(gradient: Tensor, unit: Tensor) -> Tensor:
    """The part of a gradient, (n, d), along the sphere at `unit`, (n, d) of length 1."""
    return gradient - (gradient * unit).sum(-1, keepdim=True) * unit

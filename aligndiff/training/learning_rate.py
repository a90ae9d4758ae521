"""The learning rate along a run, as a factor of its peak."""

from __future__ import annotations

import math


def falling_in_thirds(step: int, steps: int) -> float:
    """Factor of the learning rate: a tenth after each third of the steps, as in SSP's training."""
    return 0.1 ** ((step >= steps // 3) + (step >= 2 * steps // 3))


def cosine_rate(step: int, steps: int, warmup: int) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine to 2 % of the peak."""
    if step < warmup:
        return (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))

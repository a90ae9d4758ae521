"""Train a segmenter of one class on batches of pairs, and segment images with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aligndiff.dataset.images import Uint8, resize_image
from aligndiff.segmenters.trained.augment import Augmentation, augment
from aligndiff.segmenters.trained.batches import Batches, Source, signed

AT_ONCE = 32  # images segmented together


@dataclass(frozen=True)
class Budget:
    """How long a segmenter is trained, the same whatever pairs there are."""

    steps: int = 600  # optimizer steps
    batch_size: int = 16  # images of a step
    rate: float = 3e-3  # the learning rate at its highest
    weight_decay: float = 1e-2
    warmup: float = 0.1  # share of the steps in which the rate rises

    def share(self, part: float) -> Budget:
        """The same with a part of the steps, above 0 and at most 1."""
        return replace(self, steps=max(1, round(part * self.steps)))


def learn(
    network: nn.Module,
    sources: Sequence[Source],
    augmentation: Augmentation,
    budget: Budget,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    advance: Callable[[], None] = lambda: None,
) -> nn.Module:
    """The network, trained in place and put into evaluation mode; `advance` after each step."""
    generator = torch.Generator(device).manual_seed(seed)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer, schedule = optimizer_for(network, budget)
    batches = Batches(sources, budget.batch_size, generator)
    for _ in range(budget.steps):
        batch = augment(batches.draw(), augmentation, generator)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = network(images)
        loss = segmentation_loss(logits.float(), batch.objects, batch.counted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        advance()
    return network.eval()


def optimizer_for(
    network: nn.Module, budget: Budget, rate: float | None = None
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW whose rate rises over the warm-up to `rate`, else the budget's, and falls as a cosine.

    Raises ValueError for no steps.
    """
    rate = rate or budget.rate
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=budget.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        rate,
        total_steps=budget.steps + 1,
        pct_start=budget.warmup,
        cycle_momentum=False,
    )
    return optimizer, schedule


def segmentation_loss(logits: Tensor, objects: Tensor, counted: Tensor) -> Tensor:
    """Binary cross-entropy and Dice where it counts, of float (b, 1, h, w) each."""
    losses = F.binary_cross_entropy_with_logits(logits, objects, reduction="none")
    cross_entropy = (losses * counted).sum() / counted.sum().clamp_min(1)
    claimed, axes = logits.sigmoid() * counted, (1, 2, 3)
    objects = objects * counted
    # One pixel more: an image without an object has a Dice, too.
    dice = (2 * (claimed * objects).sum(axes) + 1) / (claimed.sum(axes) + objects.sum(axes) + 1)
    return cross_entropy + 1 - dice.mean()


@torch.inference_mode()
def find_object(
    network: nn.Module,
    images: Uint8,
    sizes: Sequence[tuple[int, int]],
    device: torch.device,
    dtype: torch.dtype,
) -> list[NDArray[np.bool_]]:
    """The object in each image, bool (h, w) of `sizes`; images are uint8 (n, side, side, 3)."""
    answers: list[NDArray[np.bool_]] = []
    for batch in torch.from_numpy(images).split(AT_ONCE):
        seen = signed(batch.to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits = network(seen)
        for single in logits.float():
            size = sizes[len(answers)]
            full = F.interpolate(single[None], size=size, mode="bilinear", align_corners=False)
            answers.append((full[0, 0] > 0).cpu().numpy())
    return answers


def squeezed(images: Sequence[Uint8], side: int) -> Uint8:
    """Images uint8 (h, w, 3) of any sizes as a stack uint8 (n, side, side, 3)."""
    return np.stack([resize_image(image, (side, side)) for image in images])

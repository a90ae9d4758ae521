"""SSP trained a little further, for one class, on the same batches that an ordinary network has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.images import IGNORE
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.segmenters.ssp.loss import LossWeights, episode_losses
from aligndiff.segmenters.ssp.network import IMAGE_MEAN, IMAGE_STD, SSP
from aligndiff.segmenters.ssp.segmenter import SSPSegmenter
from aligndiff.segmenters.trained.augment import Augmentation, LabelledBatch, augment
from aligndiff.segmenters.trained.batches import Batches, Source
from aligndiff.segmenters.trained.learn import Budget, optimizer_for

LEARNING_RATE = 3e-5  # AdamW's, at its highest: ten times as much unlearns what the weights know
_LOSS = LossWeights(first_round=0.4, query_itself=0, support_itself=0)


def adapt(
    choice: ModelChoice,
    support: Sequence[Source],
    queries: Sequence[Source],
    augmentation: Augmentation,
    budget: Budget,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    advance: Callable[[], None] = lambda: None,
) -> SSPSegmenter:
    """Fine-tune on episodes of one support pair and one query; half of a batch is support.

    As in SSP's own training, the first two layers and all batch normalisation stay as they are. Of
    `budget` the rate does not count: it is that of a network without weights.
    """
    checkpoint = load_ssp(Path(choice.location))
    network = checkpoint.network
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in (network.layer0, network.layer1, *network.modules()):
        if module in (network.layer0, network.layer1) or isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(False)
    network.eval()  # nothing but batch normalisation knows the difference
    generator = torch.Generator(device).manual_seed(seed)
    episodes = max(1, budget.batch_size // 2)
    optimizer, schedule = optimizer_for(network, budget, LEARNING_RATE)
    known, asked = (Batches(sources, episodes, generator) for sources in (support, queries))
    for _ in range(budget.steps):
        shown = augment(known.draw(), augmentation, generator)
        query = augment(asked.draw(), augmentation, generator)
        loss = _episode_loss(network, shown, query, checkpoint.input_side, dtype)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        advance()
    return SSPSegmenter(network, checkpoint.input_side, device, dtype)


def _episode_loss(
    network: SSP, shown: LabelledBatch, query: LabelledBatch, side: int | None, dtype: torch.dtype
) -> Tensor:
    """The mean loss of episodes; those whose support has lost its object say nothing."""
    images = torch.cat([shown.images, query.images])
    with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
        features = network(_as_input(images, side))
    by_episode = features.float().unflatten(0, (2, -1)).transpose(0, 1)
    masks = torch.stack([_labels(shown), _labels(query)], dim=1)
    losses = episode_losses(by_episode, masks, _LOSS)
    useful = shown.objects.flatten(1).any(1).float()
    return (losses * useful).sum() / useful.sum().clamp_min(1)


def _as_input(images: Tensor, side: int | None) -> Tensor:
    """Signed images as the network takes them: of its own side, normalised."""
    if side is not None and images.shape[-1] != side:
        images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    normalised = ((images + 1) / 2 - mean) / std
    return normalised.contiguous(memory_format=torch.channels_last)


def _labels(batch: LabelledBatch) -> Tensor:
    """uint8 (b, h, w) of 0, 1, 255."""
    labels = batch.objects.masked_fill(batch.counted == 0, IGNORE)
    return labels[:, 0].to(torch.uint8)

"""Train the tiny SSP segmenter by episodes on the base categories.

An episode: support pairs and a query of one base category, in half of the episodes of one look too.
The example objects' categories and looks never occur, so that they are novel to the segmenter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aligndiff.models.ssp import (
    SSP,
    SSPConfig,
    foreground_probability,
    image_tensor,
    masked_average_pooling,
    ssp_logits,
)
from aligndiff.models.ssp_checkpoint import load_ssp, save_ssp
from scripts.tiny_world.example import BASE_CATEGORIES, resembles_an_example
from scripts.tiny_world.looks import Look
from scripts.tiny_world.scene import SIDE, Scene, random_look, random_scene, render
from scripts.tiny_world.training import Run, choose_device, cosine_rate, draw_all, mixed_precision

CONFIG = SSPConfig(width=16, blocks=(2, 2, 3))
INPUT_SIDE = 256  # px: scenes are enlarged to twice their size, so that masks get finer cells
SHOTS = 2  # support pairs of a training episode
VIEWS = 4  # scenes of each identity (a category in a look)
SAME_LOOK = 0.5  # share of episodes whose query wears the support's look
RECOLOURED = 0.6  # share of episodes in other colours than the world's
FIRST_ROUND_WEIGHT = 0.4  # of the loss on the logits before the second round


@dataclass(frozen=True)
class Views:
    """``images`` uint8 (identities, views, h, w, 3), ``masks`` bool (identities, views, h, w)."""

    categories: np.ndarray  # str (identities,)
    images: np.ndarray
    masks: np.ndarray


def draw_identity(seed: int) -> tuple[str, np.ndarray, np.ndarray]:
    """One base category in one look: its name, VIEWS images and masks."""
    rng = np.random.default_rng((seed, 73))
    category = str(rng.choice(BASE_CATEGORIES))
    look = random_look(rng)
    while resembles_an_example(look):
        look = random_look(rng)
    drawn = [render(base_scene(rng, category, look)) for _ in range(VIEWS)]
    return category, np.stack([d.image for d in drawn]), np.stack([d.masks[0] for d in drawn])


def base_scene(rng: np.random.Generator, category: str, look: Look) -> Scene:
    """A scene in which no example object and no example look occurs, not even beside the object."""
    while True:
        scene = random_scene(int(rng.integers(2**40)), category, look)
        if all(
            thing.category in BASE_CATEGORIES and not resembles_an_example(thing.look)
            for thing in scene.things
        ):
            return scene


def draw_identities(first_seed: int, count: int, workers: int) -> Views:
    categories, images, masks = zip(
        *draw_all(draw_identity, first_seed, count, workers), strict=True
    )
    return Views(np.array(categories), np.stack(images), np.stack(masks))


def worn_out(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise and a shift of brightness: generated images are never as clean as scenes."""
    sigma = rng.uniform(0, 1.6)
    blurred = cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.3 else image
    noise = rng.normal(0, rng.uniform(0, 6), image.shape) + rng.uniform(-12, 12)
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def recoloured(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All images of an episode, uint8 (n, h, w, 3), in other colours, the same for each.

    The base categories have brown hulls and dark doors only; a part of a novel object may have any
    colour, pale as a mushroom's stem.
    """
    levels = np.arange(256)[:, None] * rng.uniform(0.7, 1.1, 3) + rng.uniform(-20, 20, 3)
    turned = np.where(rng.random(3) < 0.3, 255 - levels, levels)
    table = np.clip(turned, 0, 255).astype(np.uint8)
    channels = rng.permutation(3)
    return np.stack([table[images[..., c], c] for c in channels], axis=-1)


@dataclass(frozen=True)
class Episodes:
    """A batch of episodes: supports (b * SHOTS, ...) in order, one query each (b, ...)."""

    support_images: np.ndarray
    support_masks: np.ndarray
    query_images: np.ndarray
    query_masks: np.ndarray


def draw_episodes(views: Views, count: int, rng: np.random.Generator) -> Episodes:
    images, masks = [], []
    for support in rng.integers(len(views.categories), size=count):
        query = support
        if rng.random() >= SAME_LOOK:
            query = rng.choice(np.flatnonzero(views.categories == views.categories[support]))
        order = rng.permutation(VIEWS)
        chosen = [*((support, view) for view in order[:SHOTS]), (query, order[SHOTS])]
        seen = np.stack([worn_out(views.images[at], rng) for at in chosen])
        images.append(recoloured(seen, rng) if rng.random() < RECOLOURED else seen)
        masks.append(np.stack([views.masks[at] for at in chosen]))
    return Episodes(
        np.concatenate([episode[:SHOTS] for episode in images]),
        np.concatenate([episode[:SHOTS] for episode in masks]),
        np.stack([episode[SHOTS] for episode in images]),
        np.stack([episode[SHOTS] for episode in masks]),
    )


def episode_logits(network: SSP, episodes: Episodes, device: torch.device) -> tuple[Tensor, Tensor]:
    """``out1``, ``out2`` of the queries, float (b, 2, h', w')."""
    count = len(episodes.query_images)
    images = np.concatenate([episodes.support_images, episodes.query_images])
    inputs = F.interpolate(
        image_tensor(images), size=(INPUT_SIDE, INPUT_SIDE), mode="bicubic", align_corners=False
    ).to(device, memory_format=torch.channels_last)
    with mixed_precision(device):
        features = network.backbone(inputs)
    features = features.float()
    support, query = features[:-count], features[-count:]
    masks = torch.from_numpy(episodes.support_masks).to(device)
    prototypes = [
        masked_average_pooling(support, region).unflatten(0, (count, SHOTS)).mean(dim=1)
        for region in (masks, ~masks)
    ]
    return ssp_logits(query, *prototypes)


def episode_loss(network: SSP, episodes: Episodes, device: torch.device) -> Tensor:
    target = torch.from_numpy(episodes.query_masks).long().to(device)
    losses = [
        F.cross_entropy(
            F.interpolate(logits, size=(SIDE, SIDE), mode="bilinear", align_corners=True), target
        )
        for logits in episode_logits(network, episodes, device)
    ]
    return FIRST_ROUND_WEIGHT * losses[0] + losses[1]


@torch.no_grad()
def mean_iou(network: SSP, views: Views, device: torch.device, episodes: int = 64) -> float:
    """Mean foreground IoU of the queries of ``episodes`` fixed episodes."""
    network.eval()
    rng, ious = np.random.default_rng(74), []
    for _ in range(episodes // 8):
        batch = draw_episodes(views, 8, rng)
        _, logits = episode_logits(network, batch, device)
        found = (foreground_probability(logits, (SIDE, SIDE)) > 0.5).cpu().numpy()
        common = (found & batch.query_masks).sum((1, 2))
        ious.append(common / (found | batch.query_masks).sum((1, 2)))
    network.train()
    return float(np.concatenate(ious).mean())


def train_ssp(
    run: Run,
    identities: int,
    batch_size: int,
    rate: float,
    device_name: str,
    workers: int,
    start: Path | None = None,
) -> None:
    """``start``: a checkpoint to start from, instead of from nothing."""
    device = choose_device(device_name)
    torch.manual_seed(0)
    network = (
        (load_ssp(start).network if start else SSP(CONFIG))
        .to(device, memory_format=torch.channels_last)
        .train()
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    step = 0
    if state := run.load():
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    views = draw_identities(0, identities, workers)
    fresh = draw_identities(10_000_000, 100, workers)
    while step < run.steps and not run.out_of_time():
        rng = np.random.default_rng((step, 3))
        for group in optimizer.param_groups:
            group["lr"] = rate * cosine_rate(step, run.steps, 100)
        loss = episode_loss(network, draw_episodes(views, batch_size, rng), device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        if run.due(step, run.log_every):
            run.log(step, loss=loss.item())
        if run.due(step, run.save_every) or run.out_of_time():
            run.save(
                {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            )
            run.log(step, fresh_mean_iou=mean_iou(network, fresh, device))
            save_ssp(network, run.folder / "tiny_ssp.safetensors", INPUT_SIDE, torch.float16)

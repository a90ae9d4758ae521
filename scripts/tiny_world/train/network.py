"""Train the small U-Net on the base categories: `evaluate gain --model tiny` starts from it.

People train their segmenters from weights of other classes, ImageNet's or COCO's. These are the
tiny world's: scenes of the base categories alone, every thing in them labelled. The example
objects, their looks and the rare class never occur, so that they are new to whoever starts here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aligndiff.segmenters.trained.augment import STRONG, LabelledBatch, augment
from aligndiff.segmenters.trained.batches import signed
from aligndiff.segmenters.trained.small import SmallSegmenter, load_small, save_small
from scripts.tiny_world.train.run import (
    Run,
    choose_device,
    descend,
    draw_all,
    mixed_precision,
)
from scripts.tiny_world.train.ssp import base_scene
from scripts.tiny_world.world.example import BASE_CATEGORIES, resembles_an_example
from scripts.tiny_world.world.scene import random_look, render

CLASSES = 1 + len(BASE_CATEGORIES)  # the ground is number 0
CHECKED_SCENES = 100  # that are not learned from
WARMUP = 500  # steps
FIRST_SCENE = 98_500_000  # seeds from here on


def draw_scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene of base categories, uint8 (h, w, 3), and the class of each pixel, uint8 (h, w)."""
    rng = np.random.default_rng((seed, 76))
    category, look = str(rng.choice(BASE_CATEGORIES)), random_look(rng)
    while resembles_an_example(look):
        look = random_look(rng)
    scene = base_scene(rng, category, look)
    drawn = render(scene)
    classes = np.zeros(drawn.image.shape[:2], np.uint8)
    for thing, mask in zip(scene.things, drawn.masks, strict=True):
        classes[mask] = 1 + BASE_CATEGORIES.index(thing.category)
    return drawn.image, classes


def as_classes(images: Tensor, classes: Tensor) -> LabelledBatch:
    """uint8 (b, h, w, 3) and (b, h, w) as a batch with a plane for each base category."""
    planes = F.one_hot(classes.long(), CLASSES).movedim(-1, 1).float()
    return LabelledBatch(signed(images), planes[:, 1:], torch.ones_like(planes[:, :1]))


def classes_loss(logits: Tensor, objects: Tensor) -> Tensor:
    """Cross-entropy over all classes, and Dice of each base category over the batch.

    Logits are float (b, CLASSES, h, w), objects (b, CLASSES - 1, h, w) 0/1.
    """
    ground = 1 - objects.amax(1, keepdim=True)
    classes = torch.cat([ground, objects], dim=1).argmax(1)
    claimed, axes = logits.softmax(1)[:, 1:], (0, 2, 3)
    dice = (2 * (claimed * objects).sum(axes) + 1) / (claimed.sum(axes) + objects.sum(axes) + 1)
    return F.cross_entropy(logits, classes) + 1 - dice.mean()


@torch.inference_mode()
def class_ious(network: SmallSegmenter, images: Tensor, classes: Tensor) -> np.ndarray:
    """The IoU of the ground and of each base category over all images: float64 (CLASSES,)."""
    answers = torch.cat([network(signed(part)).argmax(1) for part in images.split(50)])
    ious = []
    for number in range(CLASSES):
        claimed, true = answers == number, classes == number
        ious.append(((claimed & true).sum() / (claimed | true).sum().clamp_min(1)).item())
    return np.array(ious)


def train_network(
    run: Run,
    scene_count: int,
    batch_size: int,
    rate: float,
    device_name: str,
    workers: int,
    start: Path | None = None,
) -> None:
    """``start``: weights to start from, all but the head, instead of from nothing."""
    device = choose_device(device_name)
    torch.manual_seed(0)
    network = load_small(start, CLASSES) if start else SmallSegmenter(classes=CLASSES)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer, step = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2), 0
    if state := run.load():
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    drawn = draw_all(draw_scene, FIRST_SCENE, CHECKED_SCENES + scene_count, workers)
    images, classes = (
        torch.from_numpy(np.stack(part)).to(device) for part in zip(*drawn, strict=True)
    )
    while step < run.steps and not run.out_of_time():
        generator = torch.Generator(device).manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * run.cosine_rate(step, WARMUP)
        at = torch.randint(
            CHECKED_SCENES, len(images), (batch_size,), generator=generator, device=device
        )
        batch = augment(as_classes(images[at], classes[at]), STRONG, generator)
        with mixed_precision(device):
            logits = network(batch.images.contiguous(memory_format=torch.channels_last))
        loss = classes_loss(logits.float(), batch.objects)
        descend(network, optimizer, loss)
        step += 1
        if run.due(step, run.log_every):
            run.log(step, loss=loss.item())
        if run.save_due(step):
            network.eval()
            ious = class_ious(network, images[:CHECKED_SCENES], classes[:CHECKED_SCENES])
            run.log(step, lowest_iou=ious.min(), mean_iou=ious.mean())
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            run.save(state | {"step": step})
            save_small(network, run.folder / "tiny_network.safetensors")
            network.train()

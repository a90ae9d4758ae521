"""Train the judge with full supervision on rendered scenes, each worn out in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aligndiff.core.prefetch import prefetch_map
from scripts.tiny_world.measure.judge import (
    CATEGORY_NAMES,
    COLOUR_NAMES,
    GROUND,
    KIND_NAMES,
    LOOK_CELL,
    NO_SECOND,
    TEXTURE_NAMES,
    Judge,
    judge_accuracy,
    judged_scene,
    load_judge,
    save_judge,
)
from scripts.tiny_world.train.run import (
    BATCHES_AHEAD,
    Ema,
    Run,
    choose_device,
    descend,
    draw_all,
    mixed_precision,
    to_signed,
)
from scripts.tiny_world.train.ssp import worn_out
from scripts.tiny_world.world.scene import COMPANY, SIDE, Thing, render
from scripts.tiny_world.world.shapes import kind_of

FIRST_SCENE = 50_000_000  # seeds from here on: not those that the other models were trained on
NOWHERE = -100  # the target of a pixel that has none: the look of the ground
CLEAN = 0.4  # share of scenes left as they were drawn
WOBBLED = 0.5  # share of the others whose shapes are bent
LOOK_WEIGHT = 0.5  # of each of the three losses on the look
KIND_WEIGHT = 0.7
CHECKED_SCENES = 120  # fresh scenes judged with a checkpoint


@dataclass(frozen=True)
class Truth:
    """What every pixel is and wears, int64 (..., h, w); look and kind are NOWHERE on the ground."""

    category: np.ndarray
    texture: np.ndarray
    colour: np.ndarray
    second: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class Scenes:
    """``images`` uint8 (n, h, w, 3); ``things`` uint8 (n, h, w): 0 ground, 1 to 3 the objects;
    ``labels`` int64 (n, 4, 5): category, texture, both colours and kind of each of those."""

    images: np.ndarray
    things: np.ndarray
    labels: np.ndarray


def labels_of(thing: Thing) -> tuple[int, ...]:
    look = thing.look
    return (
        CATEGORY_NAMES.index(thing.category),
        TEXTURE_NAMES.index(look.texture),
        COLOUR_NAMES.index(look.colour),
        NO_SECOND if look.second is None else COLOUR_NAMES.index(look.second),
        KIND_NAMES.index((thing.category, kind_of(thing.category, thing.shape_seed))),
    )


def draw_scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, things and labels of one scene, see ``Scenes``."""
    scene = judged_scene(seed)
    rendering = render(scene)
    things = np.zeros((SIDE, SIDE), np.uint8)
    labels = np.full((1 + len(COMPANY), 5), NOWHERE)
    labels[0, 0] = GROUND
    for i in range(len(scene.things)):
        things[rendering.masks[i]] = i + 1
        labels[i + 1] = labels_of(scene.things[i])
    return rendering.image, things, labels


def draw_scenes(first_seed: int, count: int, workers: int) -> Scenes:
    images, things, labels = zip(*draw_all(draw_scene, first_seed, count, workers), strict=True)
    return Scenes(np.stack(images), np.stack(things), np.stack(labels))


def wobbled(
    image: np.ndarray, things: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Bend image and things alike, smoothly and by a few pixels: generated outlines are rough."""
    cells = int(rng.integers(4, 9))
    shifts = rng.normal(0, rng.uniform(0.5, 3.0), (cells, cells, 2)).astype(np.float32)
    grid = np.stack(np.meshgrid(*[np.arange(SIDE, dtype=np.float32)] * 2), axis=-1)
    where = grid + cv2.resize(shifts, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    border = cv2.BORDER_REFLECT_101
    return (
        cv2.remap(image, where, None, cv2.INTER_LINEAR, borderMode=border),
        cv2.remap(things, where, None, cv2.INTER_NEAREST, borderMode=border),
    )


def smeared(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fewer pixels, another contrast, blur, noise, another brightness and traces of JPEG."""
    if rng.random() < 0.4:
        side = int(SIDE / rng.uniform(1.2, 2.2))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    mean = image.mean(dtype=np.float32)
    contrast = (image - mean) * rng.uniform(0.8, 1.2) + mean
    image = worn_out(np.clip(contrast, 0, 255).astype(np.uint8), rng)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    return image


def draw_batch(scenes: Scenes, count: int, rng: np.random.Generator) -> tuple[np.ndarray, Truth]:
    """Images uint8 (count, h, w, 3) of scenes mirrored, bent and worn out, and their truth."""
    images, truths = [], []
    for i in rng.integers(len(scenes.images), size=count):
        image, things = scenes.images[i], scenes.things[i]
        if rng.random() < 0.5:
            image, things = np.fliplr(image), np.fliplr(things)
        if rng.random() >= CLEAN:
            if rng.random() < WOBBLED:
                image, things = wobbled(image.copy(), things.copy(), rng)
            image = smeared(image, rng)
        images.append(image)
        truths.append(scenes.labels[i][things])
    return np.stack(images), Truth(*np.moveaxis(np.stack(truths), -1, 0))


def judge_loss(judge: Judge, images: np.ndarray, truth: Truth, device: torch.device) -> Tensor:
    inputs = to_signed(images).to(device, memory_format=torch.channels_last)
    with mixed_precision(device):
        opinion = judge(inputs)

    def entropy(logits: Tensor, target: np.ndarray) -> Tensor:
        return F.cross_entropy(logits, torch.from_numpy(target).to(device), ignore_index=NOWHERE)

    objects_only = np.where(truth.category == GROUND, NOWHERE, truth.category)
    middles = np.s_[:, LOOK_CELL // 2 :: LOOK_CELL, LOOK_CELL // 2 :: LOOK_CELL]  # of the cells
    look = (
        entropy(opinion.texture, truth.texture[middles])
        + entropy(opinion.colour, truth.colour[middles])
        + entropy(opinion.second, truth.second[middles])
    )
    kind = entropy(opinion.kind, truth.kind[middles])
    # Most pixels are ground: which object it is would be learned late from the first term alone.
    return (
        entropy(opinion.category, truth.category)
        + entropy(opinion.category[:, :GROUND], objects_only)
        + LOOK_WEIGHT * look
        + KIND_WEIGHT * kind
    )


def train_judge(
    run: Run,
    scene_count: int,
    batch_size: int,
    rate: float,
    device_name: str,
    workers: int,
    start: Path | None = None,
) -> None:
    """``start``: weights to start from, instead of from nothing."""
    device = choose_device(device_name)
    torch.manual_seed(0)
    judge = (
        (load_judge(start) if start else Judge())
        .to(device, memory_format=torch.channels_last)
        .train()
    )
    optimizer = torch.optim.AdamW(judge.parameters(), lr=rate, weight_decay=1e-2)
    ema, step = Ema(judge, 0.99), 0
    if state := run.load():
        judge.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        ema.shadow, step = {k: v.to(device) for k, v in state["ema"].items()}, state["step"]
    scenes = draw_scenes(FIRST_SCENE, scene_count, workers)

    def draw(step: int) -> tuple[np.ndarray, Truth]:
        return draw_batch(scenes, batch_size, np.random.default_rng((step, 4)))

    for batch in prefetch_map(draw, range(step, run.steps), BATCHES_AHEAD, workers):
        for group in optimizer.param_groups:
            group["lr"] = rate * run.cosine_rate(step, 100)
        loss = judge_loss(judge, *batch, device)
        descend(judge, optimizer, loss)
        step += 1
        ema.update(judge, step)
        if run.due(step, run.log_every):
            run.log(step, loss=loss.item())
        if run.save_due(step):
            run.save(
                {
                    "network": judge.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "ema": ema.shadow,
                    "step": step,
                }
            )
            publishable = averaged(ema)
            save_judge(publishable, run.folder / "tiny_judge.safetensors")
            accuracy = judge_accuracy(publishable, CHECKED_SCENES)
            run.log(
                step,
                category=accuracy.category,
                kind=accuracy.kind,
                look=accuracy.look,
                iou=accuracy.foreground_iou,
            )
        if run.out_of_time():
            break


def averaged(ema: Ema) -> Judge:
    """A judge of the averaged weights, on the CPU, ready to judge."""
    judge = Judge()
    judge.load_state_dict(ema.shadow)
    return judge.eval()

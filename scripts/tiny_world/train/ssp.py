"""Train the tiny SSP segmenter on the base categories: what it sees; how it learns is the method's.

An episode: support pairs and a query of one base category, in half of the episodes of one look too.
Many scenes have company, which is ground there, and half of the identities are of one kind, the
others of any. The example objects' categories and looks never occur, nor does the rare class, so
that they are novel to the segmenter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from aligndiff.core.console import progress
from aligndiff.core.device import prefers_bfloat16
from aligndiff.dataset.images import resize_image
from aligndiff.segmenters.ssp.backbone import load_initial_weights, random_weights
from aligndiff.segmenters.ssp.checkpoint import save_ssp
from aligndiff.segmenters.ssp.network import SSPConfig
from aligndiff.training.episodes import TrainingEpisode
from aligndiff.training.pairs import Pair, ValidationEpisode
from aligndiff.training.recipe import SCRATCH
from aligndiff.training.train import TrainingRun, train, validate
from scripts.tiny_world.train.run import Run, choose_device, draw_all
from scripts.tiny_world.world.example import BASE_CATEGORIES, resembles_an_example
from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import Scene, random_look, random_scene, render
from scripts.tiny_world.world.shapes import SHAPES

CONFIG = SSPConfig(width=16, blocks=(2, 2, 3))
INPUT_SIDE = 256  # px: scenes are enlarged to twice their size, so that masks get finer cells
SHOTS = 2  # support pairs of a training episode
VIEWS = 4  # scenes of each identity (a category in a look)
ONE_KIND = 0.5  # share of identities whose scenes are of one kind
COMPANIONS = (True, True, False, None)  # whether the object of each view is alone, None by chance
ALONE_FIRST = 0.6  # share of episodes whose support has no company, as people choose their pairs
SAME_LOOK = 0.5  # share of episodes whose query wears the support's look
RECOLOURED = 0.6  # share of episodes in other colours than the world's
FRESH = 1 / 15  # identities to validate on, for each one to learn from


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
    kinds = list(SHAPES[category])
    kind = str(rng.choice(kinds)) if rng.random() < ONE_KIND else None
    drawn = [render(base_scene(rng, category, look, alone, kind)) for alone in COMPANIONS]
    return category, np.stack([d.image for d in drawn]), np.stack([d.masks[0] for d in drawn])


def base_scene(
    rng: np.random.Generator,
    category: str,
    look: Look,
    alone: bool | None = None,
    kind: str | None = None,
) -> Scene:
    """A scene in which no example object and no example look occurs, not even beside the object."""
    while True:
        scene = random_scene(int(rng.integers(2**40)), category, look, alone, kind)
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
class SceneEpisodes:
    """Episodes of rendered scenes, each drawn from its own random numbers: an `EpisodeSource`."""

    views: Views

    def episode(self, step: int, slot: int) -> TrainingEpisode:
        """Images of INPUT_SIDE, masks of the scenes' own size."""
        _, drawn = draw_episode(self.views, np.random.default_rng((step, slot, 3)))
        enlarged = [resize_image(image, (INPUT_SIDE, INPUT_SIDE)) for image in drawn.images]
        return TrainingEpisode(np.stack(enlarged), drawn.masks)


def draw_episode(views: Views, rng: np.random.Generator) -> tuple[str, TrainingEpisode]:
    """A category and SHOTS support scenes with a query, at their own size."""
    support = query = rng.integers(len(views.categories))
    if rng.random() >= SAME_LOOK:
        query = rng.choice(np.flatnonzero(views.categories == views.categories[support]))
    order = rng.permutation(VIEWS)
    if rng.random() < ALONE_FIRST:
        order = np.array((0, 1, *rng.permutation((2, 3))))
    chosen = [*((support, view) for view in order[:SHOTS]), (query, order[SHOTS])]
    images = np.stack([worn_out(views.images[at], rng) for at in chosen])
    if rng.random() < RECOLOURED:
        images = recoloured(images, rng)
    masks = np.stack([views.masks[at] for at in chosen]).astype(np.uint8)
    return str(views.categories[support]), TrainingEpisode(images, masks)


def fixed_episodes(views: Views) -> list[ValidationEpisode]:
    """Episodes to validate on, as many as there are identities, the same in every run."""
    rng, validation_episodes = np.random.default_rng(74), []
    for number in range(len(views.categories)):
        category, drawn = draw_episode(views, rng)
        *support, query = (
            Pair(category, f"{number}_{place}", lambda pair=pair: pair)
            for place, pair in enumerate(zip(drawn.images, drawn.masks, strict=True))
        )
        validation_episodes.append(ValidationEpisode(query, tuple(support)))
    return validation_episodes


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
    network = (load_initial_weights(start) if start else random_weights(CONFIG, seed=0)).network
    reduced = device.type != "cpu" or prefers_bfloat16()
    dtype = torch.bfloat16 if reduced else torch.float32
    fresh = draw_identities(10_000_000, max(1, round(FRESH * identities)), workers)
    source = SceneEpisodes(draw_identities(0, identities, workers))
    training = TrainingRun(
        run.folder,
        replace(SCRATCH, rate=rate),
        run.steps,
        batch_size,
        run.save_every,
        INPUT_SIDE,
        device,
        dtype,
    )
    test = partial(
        validate,
        validation_episodes=fixed_episodes(fresh),
        input_side=INPUT_SIDE,
        device=device,
        dtype=dtype,
    )
    with progress("training", run.steps) as advance:
        train(network, source, training, test, advance, run.out_of_time)
    save_ssp(network, run.folder / "tiny_ssp.safetensors", INPUT_SIDE, torch.float16)

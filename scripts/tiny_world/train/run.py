"""What the three trainers share: rendered scenes as arrays, checkpoints that resume, a log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from aligndiff.core.device import prefers_bfloat16
from aligndiff.training.recipe import warmup_cosine
from scripts.tiny_world.world.scene import random_scene, render

Drawn = TypeVar("Drawn")
BATCHES_AHEAD = 8  # drawn while the network learns
SAVE_MINUTES = 4.0  # the longest that a run goes on without a checkpoint


def choose_device(name: str) -> torch.device:
    """``auto`` takes a GPU where there is one."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """bfloat16 autocast where it is faster than float32."""
    enabled = device.type != "cpu" or prefers_bfloat16()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
        yield


def to_signed(images: np.ndarray) -> Tensor:
    """uint8 (b, h, w, 3) to float32 (b, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _render_scene(seed: int) -> np.ndarray:
    return render(random_scene(seed)).image


def render_images(first_seed: int, count: int, workers: int) -> np.ndarray:
    """The scenes ``first_seed`` ... as uint8 (count, h, w, 3), drawn by several processes."""
    return np.stack(draw_all(_render_scene, first_seed, count, workers))


def draw_all(
    draw: Callable[[int], Drawn], first_seed: int, count: int, workers: int
) -> list[Drawn]:
    """``draw`` of each seed from ``first_seed`` on, in their order, by several processes."""
    seeds = range(first_seed, first_seed + count)
    if workers < 2:
        return [draw(seed) for seed in seeds]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(draw, seeds, chunksize=50))


class Ema:
    """Exponential moving average of a model's floating-point tensors."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """A young average follows faster: decay min(d, (1 + step) / (10 + step))."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        tensors = model.state_dict()
        moving = [name for name, value in tensors.items() if value.is_floating_point()]
        torch._foreach_lerp_(  # one launch for all of them, which a GPU waits for
            [self.shadow[name] for name in moving], [tensors[name] for name in moving], weight
        )
        for name in tensors.keys() - set(moving):
            self.shadow[name].copy_(tensors[name])


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One optimizer step down the gradient of ``loss``, whose norm is clipped to 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


@dataclass
class Run:
    """One training run in a folder: a resumable checkpoint, a log of one JSON object a line."""

    folder: Path
    steps: int  # optimizer steps in all
    minutes: float  # stop (resumably) after so long
    save_every: int = 500  # steps
    log_every: int = 50  # steps
    previews: int = 4  # samples of each prompt drawn with a checkpoint of the unet
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)  # when the last checkpoint was written

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def load(self) -> dict | None:
        """The last checkpoint, or None at the very start."""
        if not self.checkpoint.exists():
            return None
        return torch.load(self.checkpoint, map_location="cpu", weights_only=True)

    def save(self, state: dict) -> None:
        beside = self.checkpoint.with_suffix(".tmp")
        torch.save(state, beside)
        os.replace(beside, self.checkpoint)
        self.saved = time.monotonic()

    def save_due(self, step: int) -> bool:
        """After so many steps or minutes since the last checkpoint, and at the end."""
        waited = (time.monotonic() - self.saved) / 60
        return self.due(step, self.save_every) or waited >= SAVE_MINUTES or self.out_of_time()

    def out_of_time(self) -> bool:
        return (time.monotonic() - self.started) / 60 >= self.minutes

    def cosine_rate(self, step: int, warmup: int) -> float:
        """The share of the peak learning rate at ``step``: up over the warm-up, then a cosine.

        It ends with the run, be that after its steps or after its minutes, whichever comes first.
        """
        elapsed = (time.monotonic() - self.started) / 60 / self.minutes
        return warmup_cosine(max(step, round(min(1.0, elapsed) * self.steps)), self.steps, warmup)

    def due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.steps

    def log(self, step: int, **values: float) -> None:
        minutes = (time.monotonic() - self.started) / 60
        line = {"step": step, "minutes": round(minutes, 2)}
        line |= {name: round(float(value), 5) for name, value in values.items()}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)

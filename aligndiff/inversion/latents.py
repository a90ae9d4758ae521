"""Support pairs in the model's latent space: VAE posteriors, and which latent positions are object.

Posteriors and regions depend on the views of a pair alone: a training run computes them once and
then only samples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from aligndiff.dataset.images import BACKGROUND, OBJECT, resize_image
from aligndiff.dataset.support import SupportPair
from aligndiff.diffusion.latents import encode_images, vae_in_float32
from aligndiff.inversion.views import FLIP, VARIED, views_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from aligndiff.diffusion.prediction import NoiseSchedule

# A position is object where its resized mask value, in [0, 1], is above this (the method's value).
MASK_THRESHOLD = 0.3


@dataclass(frozen=True)
class SupportLatents:
    """What training needs of n support pairs in v views each: the pair, its mirror image, ...

    mean, std: float32 (n, v, c, h, w), the VAE posterior, normalised as the denoiser expects it.
    foreground, background: bool (n, v, h, w); a position in neither is ignored.
    """

    mean: torch.Tensor
    std: torch.Tensor
    foreground: torch.Tensor
    background: torch.Tensor

    @property
    def pairs(self) -> int:
        """The number of support pairs."""
        return len(self.mean)

    @property
    def views(self) -> int:
        """The number of views of a pair."""
        return self.mean.shape[1]

    @property
    def grid(self) -> tuple[int, ...]:
        """(c, h, w) of one latent."""
        return tuple(self.mean.shape[2:])


def latent_regions(mask: np.ndarray, grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Foreground and background of a mask on the latent grid, each bool (h, w).

    `mask` is uint8 (height, width) with 0 background, 1 object, 255 ignore. Each position takes the
    label of its nearest pixel, by the rule of `F.interpolate(mode="nearest")`; ignored ones are in
    neither result. An object that no position hits still owns the one it covers most.
    """
    labels = torch.from_numpy(np.ascontiguousarray(mask))[None, None]
    is_object, is_ground = (labels == OBJECT).float(), (labels == BACKGROUND).float()
    foreground = F.interpolate(is_object, size=grid, mode="nearest")[0, 0] > MASK_THRESHOLD
    background = F.interpolate(is_ground, size=grid, mode="nearest")[0, 0] > MASK_THRESHOLD
    if not foreground.any() and is_object.any():
        covered = F.adaptive_avg_pool2d(is_object, grid)[0, 0]
        foreground.view(-1)[covered.argmax()] = True
    return foreground, background & ~foreground


def encode_support(
    pipe: DiffusionPipeline,
    pairs: Iterable[SupportPair],
    size: int,
    augment: Collection[str] = FLIP,
    seed: int = 0,
    views: int = VARIED,
) -> SupportLatents:
    """Posterior and regions of every view of every pair, for images of `size` x `size` pixels.

    The pairs are taken one by one, and no more than two views at once: large photos need not be in
    memory together, and the VAE needs ~1 GB an image at 512 px. `augment`, `seed` and `views`
    (how many) as for `views_of`.

    A pair is flipped before it is resized: the nearest pixel of a flipped mask is not the flip of
    the nearest pixel. The VAE runs in float32 and is put back to its own dtype.
    """
    with vae_in_float32(pipe):
        encoded = [
            [_encoded(pipe, group, size) for group in views_of(pair, augment, seed, views)]
            for pair in pairs
        ]
    of_pairs = ([torch.cat(side) for side in zip(*parts, strict=True)] for parts in encoded)
    return SupportLatents(*(torch.stack(tensors) for tensors in zip(*of_pairs, strict=True)))


def _encoded(
    pipe: DiffusionPipeline, views: Sequence[SupportPair], size: int
) -> tuple[torch.Tensor, ...]:
    """Mean, deviation, foreground and background of v views, as in `SupportLatents`: (v, ...)."""
    images = np.stack([resize_image(view.image, (size, size)) for view in views])
    mean, std = encode_images(pipe, images)
    grid = (mean.shape[-2], mean.shape[-1])
    regions = [latent_regions(view.mask, grid) for view in views]
    return mean, std, *(torch.stack(side).to(mean.device) for side in zip(*regions, strict=True))


@dataclass(frozen=True)
class Batch:
    """What the model sees of b support views in one pass, and what it should answer.

    noisy, target: float32 (b, c, h, w). timesteps: (b,), as the model counts them. foreground,
    background: bool (b, h, w).
    """

    noisy: torch.Tensor
    target: torch.Tensor
    timesteps: torch.Tensor
    foreground: torch.Tensor
    background: torch.Tensor

    def split(self, size: int) -> list[Batch]:
        """The same views in batches of at most `size`."""
        if size >= len(self.noisy):
            return [self]
        tensors = [getattr(self, item.name).split(size) for item in fields(self)]
        return [Batch(*parts) for parts in zip(*tensors, strict=True)]


def training_batches(
    support: SupportLatents,
    schedule: NoiseSchedule,
    count: int,
    size: int,
    generator: torch.Generator,
    timestep_range: Sequence[float] = (),
) -> Iterator[Batch]:
    """`count` batches of `size` views: pairs in shuffled rounds, views and levels uniform.

    `timestep_range`: the lowest and the highest noise level, of 1000; empty: all of them. All
    randomness comes from the CPU `generator`, so that every device trains on the same draws.
    """
    low, high = (round(level / 1000 * schedule.steps) for level in timestep_range or (0, 1000))
    rounds = -(-count * size // support.pairs)
    order = [torch.randperm(support.pairs, generator=generator) for _ in range(rounds)]
    for pair in torch.cat(order)[: count * size].split(size):
        view = torch.randint(support.views, pair.shape, generator=generator)
        levels = torch.randint(low, high, pair.shape, generator=generator)
        drawn = torch.randn(2, size, *support.grid, generator=generator)
        chosen = pair * support.views + view
        chosen, levels, drawn = _sent((chosen, levels, drawn), support.mean.device)
        yield _noised(support, schedule, chosen, levels, drawn)


def fixed_batch(
    support: SupportLatents,
    schedule: NoiseSchedule,
    size: int,
    generator: torch.Generator,
    timestep_range: Sequence[float] = (),
) -> Batch:
    """`size` views to compare by: the pairs in turn as they are, at evenly spaced noise levels."""
    low, high = (level / 1000 * schedule.steps for level in timestep_range or (0, 1000))
    number = torch.arange(size)
    levels = (low + (high - low) * (number + 0.5) / size).long()
    drawn = torch.randn(2, size, *support.grid, generator=generator)
    chosen = number % support.pairs * support.views
    return _noised(support, schedule, *_sent((chosen, levels, drawn), support.mean.device))


def _noised(
    support: SupportLatents,
    schedule: NoiseSchedule,
    view: torch.Tensor,
    levels: torch.Tensor,
    drawn: torch.Tensor,
) -> Batch:
    """The batch of `view` int64 (b,) = views * pair + view, from normal draws (2, b, c, h, w)."""
    mean, std, foreground, background = (
        tensor.flatten(0, 1)[view]
        for tensor in (support.mean, support.std, support.foreground, support.background)
    )
    latents, noise = mean + std * drawn[0], drawn[1]
    return Batch(
        schedule.noised(latents, noise, levels),
        schedule.target(latents, noise, levels),
        schedule.timesteps(levels),
        foreground,
        background,
    )


def _sent(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """CPU tensors on `device`; to a GPU from pinned memory, so that the host runs ahead of it."""
    if device.type == "cuda":
        tensors = [tensor.pin_memory() for tensor in tensors]
    return [tensor.to(device, non_blocking=True) for tensor in tensors]

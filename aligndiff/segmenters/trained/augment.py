"""Random versions of a batch: moved, in other light and colours, with patches painted over.

Everything is drawn for the whole batch at once, on the device that it lies on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_CHANNEL_ORDERS = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (2, 1, 0), (0, 2, 1))
_INVERTED = 0.35  # share of the recoloured channels that are inverted
_PATCH = (0.1, 0.28)  # half the side of a patch that is painted over


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be changed. Lengths are shares of its side; values lie in [-1, 1]."""

    turn: float = 15.0  # degrees, the largest rotation
    scales: tuple[float, float] = (0.5, 1.2)  # the new sizes over the old
    shift: float = 0.25  # the farthest move along x and y
    contrast: float = 0.4  # the largest change of it, a factor of 1 +- this
    brightness: float = 0.4
    tint: float = 0.3  # of each channel
    noise: float = 0.06  # standard deviation
    recoloured: float = 0.0  # share of the images with channels permuted and inverted
    erased: float = 0.0  # share of the images in which a patch is painted over


USUAL = Augmentation()
STRONG = Augmentation(recoloured=0.7)
ERASING = Augmentation(erased=0.9)
STILL = Augmentation(0, (1, 1), 0, 0, 0, 0, 0)  # changes nothing


@dataclass(frozen=True)
class LabelledBatch:
    """Images and what they show, on one device.

    Attributes:
        images: float (b, 3, h, w) in [-1, 1].
        objects: float (b, classes, h, w) 0/1; one class, where a segmenter of one is trained.
        counted: float (b, 1, h, w) 0/1, where the loss is taken.
    """

    images: Tensor
    objects: Tensor
    counted: Tensor


def augment(batch: LabelledBatch, how: Augmentation, generator: torch.Generator) -> LabelledBatch:
    """A random version of the batch; the generator's device is the batch's."""
    moved = _moved(torch.cat([batch.images, batch.objects, 1 - batch.counted], 1), how, generator)
    images, objects = moved[:, :3], (moved[:, 3:-1] > 0.5).float()
    counted = (moved[:, -1:] <= 0.5).float()
    if how.recoloured:
        images = _recoloured(images, objects.amax(1, keepdim=True), how.recoloured, generator)
    images = _in_other_light(images, how, generator)
    if how.erased:
        images, objects = _painted_over(images, objects, how.erased, generator)
    return LabelledBatch(images, objects, counted)


def _between(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def _moved(both: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Flip, turn, scale and shift float (b, c, h, w); what comes in at the edges is mirrored."""
    count = len(both)

    def between(low: float, high: float) -> Tensor:
        return _between(low, high, count, generator).flatten()

    angle = between(-math.radians(how.turn), math.radians(how.turn))
    scale = between(math.log(how.scales[0]), math.log(how.scales[1])).exp()
    flip = torch.where(between(0, 1) < 0.5, -1.0, 1.0)
    # The grid spans [-1, 1]: a move of the whole side is 2 there.
    x, y = (2 * between(-how.shift, how.shift) / scale for _ in range(2))
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = [torch.stack([cos * flip, -sin, x], dim=1), torch.stack([sin * flip, cos, y], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(both.shape), align_corners=False)
    return F.grid_sample(both, grid, padding_mode="reflection", align_corners=False)


def _in_other_light(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    count, place = len(images), images.device
    images = images * (1 + _between(-how.contrast, how.contrast, count, generator))
    images = images + _between(-how.brightness, how.brightness, count, generator)
    tint = torch.rand(count, 3, 1, 1, generator=generator, device=place) * 2 - 1
    noise = torch.randn(images.shape, generator=generator, device=place)
    return images + how.tint * tint + how.noise * noise


def _recoloured(
    images: Tensor, objects: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Channels permuted and some inverted, in half of the cases of the object alone.

    It imitates objects of any colour, which is what a few photos lack first.
    """
    count, place = len(images), images.device
    orders = torch.tensor(_CHANNEL_ORDERS, device=place)
    picks = torch.randint(len(orders), (count,), generator=generator, device=place)
    permuted = images.gather(1, orders[picks][:, :, None, None].expand_as(images))
    draws = torch.rand(2, count, 3, 1, 1, generator=generator, device=place)
    sign = torch.where(draws[0] < _INVERTED, -1.0, 1.0)
    changed = permuted * sign * (0.7 + 0.4 * draws[1])
    where = (_between(0, 1, count, generator) < share).float()
    object_alone = (_between(0, 1, count, generator) < 0.5).float()
    where = where * (object_alone * objects + 1 - object_alone)
    return torch.lerp(images, changed, where)


def _painted_over(
    images: Tensor, objects: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random erasing: a box or an ellipse in a share of the images, which is no object any more.

    It is filled with one colour, or with what another image shows there, its channels swapped.
    """
    count, place = len(images), images.device

    def distance(length: int, shape: tuple[int, int]) -> Tensor:
        axis = torch.linspace(0, 1, length, device=place).view(shape)
        return (axis - _between(0, 1, count, generator)) / _between(*_PATCH, count, generator)

    x, y = distance(images.shape[-1], (1, -1)), distance(images.shape[-2], (-1, 1))
    box, ellipse = (x.abs() < 1) & (y.abs() < 1), x**2 + y**2 < 1
    where = torch.where(_between(0, 1, count, generator) < 0.5, box, ellipse)
    where &= _between(0, 1, count, generator) < share
    colour = torch.rand(count, 3, 1, 1, generator=generator, device=place) * 2 - 1
    other = images[torch.randperm(count, generator=generator, device=place)]
    orders = torch.tensor(_CHANNEL_ORDERS[1:], device=place)
    picks = torch.randint(len(orders), (count,), generator=generator, device=place)
    swapped = other.gather(1, orders[picks][:, :, None, None].expand_as(other))
    fill = torch.where(_between(0, 1, count, generator) < 0.5, colour, swapped)
    return torch.where(where, fill, images), objects.where(~where, torch.zeros((), device=place))

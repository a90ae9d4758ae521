"""A small segmenter of one object, and how it is trained from pairs: all that the gain needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aligndiff.training.recipe import warmup_cosine
from scripts.tiny_world.measure.pairs import Pairs
from scripts.tiny_world.train.run import choose_device, mixed_precision, to_signed
from scripts.tiny_world.world.scene import SIDE

INPUT_SIDE = SIDE // 2  # px: what the network sees
TESTED_AT_ONCE = 50  # scenes


@dataclass(frozen=True)
class GainRecipe:
    """How the segmenter is trained, the same whatever pairs there are: only the data may differ.

    The default is the usual practice: all pairs alike, with flips, turns, scales, shifts and
    colours; its sizes were tuned for five real pairs alone, on other scenes than those of the test.
    Lengths are shares of the image's side.
    """

    steps: int = 300  # optimizer steps
    batch_size: int = 16
    rate: float = 3e-3  # peak of the learning rate
    weight_decay: float = 1e-2
    warmup: int = 40  # steps
    real_share: float | None = None  # of the draws, beside synthetic pairs; None: by number
    turn: float = 15.0  # degrees, the largest rotation
    scales: tuple[float, float] = (0.5, 1.2)  # the objects' new sizes over the old
    shift: float = 0.25  # the farthest move along x and y
    # Of images in [-1, 1]: the largest changes of their contrast (a factor of 1 +- this), of their
    # brightness and of each channel, and the standard deviation of noise.
    contrast: float = 0.4
    brightness: float = 0.4
    tint: float = 0.3
    noise: float = 0.06
    erased: float = 0.0  # share of the images in which a patch is painted over


# Random erasing paints other things into the images, which is just what the test scenes have and
# five photos of an object alone do not show: a far better segmenter from real pairs.
ERASING = GainRecipe(erased=0.9, real_share=0.5)


class Convolutions(nn.Sequential):
    """Two convolutions, each with batch normalization and ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            *_convolution(channels, width, stride=1), *_convolution(width, width, stride=1)
        )


def _convolution(channels: int, width: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


class SmallSegmenter(nn.Module):
    """A U-Net on half of its input's resolution: images float (b, 3, h, w) in [-1, 1] to logits.

    The logits are float32 (b, 1, h, w), positive on the object.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 64)) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, widths[0], stride=2))
        steps = list(zip((widths[0], *widths), widths, strict=False))
        self.down = nn.ModuleList(Convolutions(*step) for step in steps)
        climbs = list(zip(widths[::-1], widths[-2::-1], strict=False))
        self.up = nn.ModuleList(Convolutions(low + high, high) for low, high in climbs)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        passed = []
        for depth, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if depth else x)
            passed.append(x)
        passed.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2), passed.pop()], dim=1))
        return _enlarged(self.head(x).float(), 2 * x.shape[-1])


def _enlarged(logits: Tensor, side: int) -> Tensor:
    return F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)


def _reduced(images: Tensor) -> Tensor:
    """float (b, c, SIDE, SIDE) to (b, c, INPUT_SIDE, INPUT_SIDE) by averaging."""
    return F.avg_pool2d(images, SIDE // INPUT_SIDE)


def _between(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def _moved(both: Tensor, recipe: GainRecipe, generator: torch.Generator) -> Tensor:
    """Flip, turn, scale and shift float (b, c, h, w); what comes in at the edges is mirrored."""
    count = len(both)

    def between(low: float, high: float) -> Tensor:
        return _between(low, high, count, generator).flatten()

    angle = between(-math.radians(recipe.turn), math.radians(recipe.turn))
    scale = between(math.log(recipe.scales[0]), math.log(recipe.scales[1])).exp()
    flip = torch.where(between(0, 1) < 0.5, -1.0, 1.0)
    # The grid spans [-1, 1]: a move of the whole side is 2 there.
    x, y = (2 * between(-recipe.shift, recipe.shift) / scale for _ in range(2))
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = [torch.stack([cos * flip, -sin, x], dim=1), torch.stack([sin * flip, cos, y], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(both.shape), align_corners=False)
    return F.grid_sample(both, grid, padding_mode="reflection", align_corners=False)


def _painted_over(
    images: Tensor, masks: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random erasing: a box or an ellipse in a share of the images, which is no object any more.

    It is filled with one colour, or with what another image shows there, its channels swapped:
    something of a look that is not the object's.
    """
    count, side = len(images), images.shape[-1]
    axis = torch.linspace(0, 1, side)
    x = (axis - _between(0, 1, count, generator)) / _between(0.1, 0.28, count, generator)
    y = (axis[:, None] - _between(0, 1, count, generator)) / _between(0.1, 0.28, count, generator)
    box, ellipse = (x.abs() < 1) & (y.abs() < 1), x**2 + y**2 < 1
    where = torch.where(_between(0, 1, count, generator) < 0.5, box, ellipse)
    where &= _between(0, 1, count, generator) < share
    colour = torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1
    other = images[torch.randperm(count, generator=generator)]
    swaps = torch.tensor([[1, 2, 0], [2, 0, 1], [1, 0, 2], [2, 1, 0], [0, 2, 1]])
    swap = swaps[torch.randint(len(swaps), (count,), generator=generator)]
    swapped = other.gather(1, swap[:, :, None, None].expand_as(other))
    fill = torch.where(_between(0, 1, count, generator) < 0.5, colour, swapped)
    return torch.where(where, fill, images), masks.where(~where, torch.zeros(()))


def augment(
    images: Tensor, masks: Tensor, recipe: GainRecipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random version of images float (b, 3, h, w) in [-1, 1] and masks float (b, 1, h, w)."""
    count = len(images)
    both = _moved(torch.cat([images, masks], dim=1), recipe, generator)
    images, masks = both[:, :3], (both[:, 3:] > 0.5).float()
    images = images * (1 + _between(-recipe.contrast, recipe.contrast, count, generator))
    images = images + _between(-recipe.brightness, recipe.brightness, count, generator)
    tint = torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1
    images = images + recipe.tint * tint
    images = images + recipe.noise * torch.randn(images.shape, generator=generator)
    return _painted_over(images, masks, recipe.erased, generator)


def pair_weights(real: int, synthetic: int, real_share: float | None) -> Tensor:
    """How often each pair is drawn, float (real + synthetic,), not normalized."""
    weights = torch.ones(real + synthetic)
    if synthetic and real_share is not None:
        weights[:real] = real_share / real
        weights[real:] = (1 - real_share) / synthetic
    return weights


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy and Dice, of float (b, 1, h, w) each."""
    found, axes = logits.sigmoid(), (1, 2, 3)
    # One pixel more: an image without an object has a Dice, too.
    dice = (2 * (found * masks).sum(axes) + 1) / (found.sum(axes) + masks.sum(axes) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice.mean()


def train_small_segmenter(
    pairs: Pairs,
    real_count: int,
    seed: int,
    recipe: GainRecipe | None = None,
    device_name: str = "cpu",
) -> SmallSegmenter:
    """A segmenter trained on the pairs, of which the first ``real_count`` are real."""
    recipe, device = recipe or GainRecipe(), choose_device(device_name)
    torch.manual_seed(seed)
    network = SmallSegmenter().to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay
    )
    images = _reduced(to_signed(pairs.images))
    masks = _reduced(torch.from_numpy(pairs.masks)[:, None].float())
    weights = pair_weights(real_count, len(pairs) - real_count, recipe.real_share)
    # The draws stay on the CPU: they are the same on every device.
    generator = torch.Generator().manual_seed(seed)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * warmup_cosine(step, recipe.steps, recipe.warmup)
        drawn = torch.multinomial(weights, recipe.batch_size, True, generator=generator)
        batch, target = augment(images[drawn], masks[drawn], recipe, generator)
        with mixed_precision(device):
            logits = network(batch.to(device, memory_format=torch.channels_last))
        loss = segmentation_loss(logits, target.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def find_object(network: SmallSegmenter, images: np.ndarray) -> np.ndarray:
    """Masks bool (n, h, w) of images uint8 (n, h, w, 3), at the images' own size."""
    device = next(network.parameters()).device
    found = []
    for batch in torch.from_numpy(images).split(TESTED_AT_ONCE):
        logits = network(_reduced(to_signed(batch.numpy())).to(device))
        found.append(_enlarged(logits, SIDE)[:, 0].cpu().numpy() > 0)
    return np.concatenate(found)


def class_iou(network: SmallSegmenter, scenes: Pairs) -> float:
    """IoU of the object's class as few-shot benchmarks count it: the intersections of all scenes

    over their unions, so that a scene counts by its area. Its mean over classes is the mIoU.
    """
    found = find_object(network, scenes.images)
    union = np.count_nonzero(found | scenes.masks)
    return float(np.count_nonzero(found & scenes.masks) / union) if union else 0.0

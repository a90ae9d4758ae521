"""Where the images of a batch come from: stacks of pairs of one size, each with its share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from aligndiff.dataset.images import IGNORE, OBJECT, Uint8, resize_image, resize_mask
from aligndiff.segmenters.trained.augment import LabelledBatch


@dataclass(frozen=True)
class PairStack:
    """`images` uint8 (n, h, w, 3) and `masks` uint8 (n, h, w) of 0, 1 and 255 (ignore)."""

    images: Uint8
    masks: Uint8

    def __len__(self) -> int:
        return len(self.images)


def stack_pairs(pairs: Iterable[tuple[Uint8, Uint8]], side: int) -> PairStack:
    """Images uint8 (h, w, 3) with masks uint8 (h, w), squeezed to a square of `side` px."""
    size, images, masks = (side, side), [], []
    for image, mask in pairs:
        images.append(image if image.shape[:2] == size else resize_image(image, size))
        masks.append(mask if mask.shape == size else resize_mask(mask, size))
    if not images:
        return PairStack(np.zeros((0, *size, 3), np.uint8), np.zeros((0, *size), np.uint8))
    return PairStack(np.stack(images), np.stack(masks))


@dataclass(frozen=True)
class Source:
    """A stack with its share of every batch."""

    pairs: PairStack
    share: float


class Batches:
    """Draws batches from several sources: which image is a matter of its source's share alone.

    However many synthetic pairs there are, the real ones keep their share of every batch.
    """

    def __init__(
        self, sources: Sequence[Source], batch_size: int, generator: torch.Generator
    ) -> None:
        """ValueError without a pair. The stacks go to the generator's device."""
        filled = [source for source in sources if len(source.pairs) and source.share > 0]
        if not filled:
            raise ValueError("no source has a pair to learn from")
        place = generator.device
        self.batch_size, self.generator = batch_size, generator
        self.images = [torch.from_numpy(source.pairs.images).to(place) for source in filled]
        self.masks = [torch.from_numpy(source.pairs.masks).to(place) for source in filled]
        self.shares = torch.tensor([float(source.share) for source in filled], device=place)

    def draw(self) -> LabelledBatch:
        """The next batch, as it lies in the stacks."""
        counts = torch.multinomial(self.shares, self.batch_size, True, generator=self.generator)
        images, masks = [], []
        for number, count in enumerate(torch.bincount(counts, minlength=len(self.shares)).tolist()):
            if count:
                at = torch.randint(
                    len(self.images[number]),
                    (count,),
                    generator=self.generator,
                    device=self.generator.device,
                )
                images.append(self.images[number][at])
                masks.append(self.masks[number][at])
        return as_batch(torch.cat(images), torch.cat(masks))


def as_batch(images: torch.Tensor, masks: torch.Tensor) -> LabelledBatch:
    """uint8 (b, h, w, 3) and (b, h, w) of 0, 1, 255 as a batch."""
    masks = masks[:, None]
    return LabelledBatch(signed(images), (masks == OBJECT).float(), (masks != IGNORE).float())


def signed(images: torch.Tensor) -> torch.Tensor:
    """uint8 (b, h, w, 3) to float32 (b, 3, h, w) in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float().div(127.5).sub(1)

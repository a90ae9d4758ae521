"""Heatmaps by the heads that show the support masks: each weighted by how well it does.

The support photos are shown to the model with some noise. A head whose map ranks object before
background (area under the ROC curve above one half) gets weight, the others none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.images import IGNORE, OBJECT, resize_image, resize_mask
from aligndiff.dataset.support import SupportPair
from aligndiff.masks.regions import intersection_over_union

if TYPE_CHECKING:
    import torch

    from aligndiff.diffusion.looking import AttentionMaps
    from aligndiff.diffusion.prompts import EncodedPrompt

Uint8 = NDArray[np.uint8]
Float = NDArray[np.float32]

DRAWS = 4  # of noise for each support photo
MOST_PAIRS = 16  # more would tell no more of the heads
SUPPORT_SEED = 0  # of their noise; the first photo has this one, the next the next
THRESHOLDS = np.arange(0.05, 0.96, 0.05)


@dataclass(frozen=True)
class HeatmapDefinition:
    """Heatmaps of an entry, and where they mean object.

    Attributes:
        weights: float32 (heads,), of sum 1.
        threshold: a share of 255, the best on the support.
        support_iou: mean IoU with the support masks at that threshold.
        spreads: whether maps are spread and sharpened, see `refined`.
    """

    weights: torch.Tensor
    threshold: float
    support_iou: float
    spreads: bool

    def heatmaps(
        self, pipe: Any, prompt: EncodedPrompt, images: Uint8, seeds: Sequence[int]
    ) -> Uint8:
        """Of images, uint8 (n, h, w, 3): uint8 (n, h, w)."""
        from aligndiff.diffusion.looking import look_at

        maps = shown(look_at(pipe, prompt, images, seeds), self.weights, images, self.spreads)
        return (np.stack(maps) * 255).astype(np.uint8)

    def record(self, name: str) -> dict[str, Any]:
        """What `heatmap.json` says."""
        return {
            "heatmap": name,
            "threshold": round(self.threshold, 2),
            "support_iou": round(self.support_iou, 3),
            "heads": int((self.weights > 0).sum()),
        }


def learn(
    pipe: Any,
    prompt: EncodedPrompt,
    support: Sequence[SupportPair],
    size: tuple[int, int],
    spreads: bool = False,
) -> HeatmapDefinition:
    """The weights and the threshold from the support pairs; `size` (h, w) is the images'."""
    from aligndiff.diffusion.looking import look_at

    images = np.stack([resize_image(pair.image, size) for pair in support[:MOST_PAIRS]])
    masks = [resize_mask(pair.mask, size) for pair in support[:MOST_PAIRS]]
    seeds = range(SUPPORT_SEED, SUPPORT_SEED + len(images))
    seen = look_at(pipe, prompt, images, seeds, DRAWS)
    weights = head_weights(seen.heads, masks)
    maps = shown(seen, weights, images, spreads)
    threshold, iou = best_threshold(maps, masks)
    return HeatmapDefinition(weights, threshold, iou, spreads)


def head_weights(heads: torch.Tensor, masks: Sequence[Uint8]) -> torch.Tensor:
    """max(0, AUC - 1/2)^2 of every head, scaled to a sum of 1; all alike where none is better.

    `heads` is float32 (n, heads, h, w), `masks` uint8 (H, W) of 0, 1 and 255 each; a position is
    object, or background, where most of its pixels are.
    """
    import torch

    areas = np.mean([_aucs(maps, mask) for maps, mask in zip(heads, masks, strict=True)], axis=0)
    weights = torch.from_numpy(np.clip(areas - 0.5, 0, None) ** 2).to(heads)
    total = weights.sum()
    return weights / total if total > 0 else torch.full_like(weights, 1 / len(weights))


def _aucs(maps: torch.Tensor, mask: Uint8) -> NDArray[np.float64]:
    """Area under the ROC curve of maps, float32 (heads, h, w); one half where a side is empty."""
    h, w = maps.shape[-2:]
    object_, background = (
        cv2.resize((mask == label).astype(np.float32), (w, h), interpolation=cv2.INTER_AREA) > 0.5
        for label in (OBJECT, 1 - OBJECT)
    )
    positives = int(np.count_nonzero(object_))
    negatives = int(np.count_nonzero(background))
    if not positives or not negatives:
        return np.full(len(maps), 0.5)
    values = maps.flatten(1).cpu().numpy()
    counted = np.concatenate([values[:, object_.ravel()], values[:, background.ravel()]], 1)
    ranks = counted.argsort(1, kind="stable").argsort(1, kind="stable")[:, :positives] + 1
    sums = ranks.sum(1) - positives * (positives + 1) / 2
    return np.asarray(sums / (positives * negatives), np.float64)


def shown(seen: AttentionMaps, weights: torch.Tensor, images: Uint8, spreads: bool) -> list[Float]:
    """Heatmaps float32 (h, w) in [0, 1] of what is seen in images, uint8 (n, h, w, 3)."""
    from aligndiff.synthesis.heatmaps.refined import sharpened, spread

    maps = (seen.heads * weights[:, None, None]).sum(1)
    if spreads:
        maps = spread(maps, seen.image, seen.image_grid)
    h, w = images.shape[1:3]
    large = [cv2.resize(m, (w, h), interpolation=cv2.INTER_CUBIC) for m in maps.cpu().numpy()]
    maps_of = [_ranged(np.asarray(one, np.float32)) for one in large]
    return [sharpened(*pair) for pair in zip(images, maps_of, strict=True)] if spreads else maps_of


def _ranged(values: Float) -> Float:
    """Scaled to [0, 1]."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-9)


def best_threshold(maps: Sequence[Float], masks: Sequence[Uint8]) -> tuple[float, float]:
    """The threshold with the best mean IoU, and that IoU; ignored pixels count nowhere."""
    ious = [
        np.mean([_iou(one > threshold, mask) for one, mask in zip(maps, masks, strict=True)])
        for threshold in THRESHOLDS
    ]
    best = int(np.argmax(ious))
    return float(THRESHOLDS[best]), float(ious[best])


def _iou(predicted: NDArray[np.bool_], mask: Uint8) -> float:
    counted = mask != IGNORE
    return intersection_over_union(predicted & counted, mask == OBJECT)

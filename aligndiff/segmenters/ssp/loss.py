"""The loss of SSP's episodes.

Source: "Self-Support Few-Shot Semantic Segmentation" (ECCV 2022), its published training code: the
sum of cross-entropies of both rounds' logits, of the query under the prototypes of its own true
mask (the self-support loss), and, with weight 0.2, of every support under its own prototypes. There
the mean goes over the pixels of a whole batch, here over each episode's own, so that episodes count
alike however many of their pixels are *ignore*, and a batch may be shared among processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT
from aligndiff.segmenters.ssp.network import masked_average_pooling, ssp_logits
from aligndiff.segmenters.ssp.self_support import COSINE_SCALE


@dataclass(frozen=True)
class LossWeights:
    """Weights beside the second round's loss, which counts 1; 0 leaves a term out."""

    first_round: float = 1.0
    query_itself: float = 1.0
    support_itself: float = 0.2


def episode_losses(features: Tensor, masks: Tensor, weights: LossWeights) -> Tensor:
    """One loss for each episode, float (b,).

    `features` is float (b, shot + 1, c, h, w), `masks` uint8 (b, shot + 1, H, W) of 0, 1 and 255
    (ignore); the query is the last of each episode.
    """
    count = features.shape[1]
    flat, flat_masks = features.flatten(0, 1), masks.flatten(0, 1)
    foreground, background = (
        masked_average_pooling(flat, flat_masks == label).unflatten(0, (-1, count))
        for label in (OBJECT, BACKGROUND)
    )
    query, truth = features[:, -1], masks[:, -1]
    out1, out2 = ssp_logits(query, foreground[:, :-1].mean(1), background[:, :-1].mean(1))
    loss = cross_entropy(out2, truth) + weights.first_round * cross_entropy(out1, truth)
    if weights.query_itself:
        own = cosine_logits(query, foreground[:, -1], background[:, -1])
        loss = loss + weights.query_itself * cross_entropy(own, truth)
    if weights.support_itself:
        prototypes = (p[:, :-1].flatten(0, 1) for p in (foreground, background))
        own = cosine_logits(features[:, :-1].flatten(0, 1), *prototypes)
        losses = cross_entropy(own, masks[:, :-1].flatten(0, 1)).unflatten(0, (-1, count - 1))
        loss = loss + weights.support_itself * losses.mean(1)
    return loss


def cosine_logits(features: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """Logits (n, 2, h, w) = 10 * [cos(F, background), cos(F, foreground)], prototypes (n, c)."""
    cosines = [
        F.cosine_similarity(features, prototype[:, :, None, None], dim=1)
        for prototype in (background, foreground)
    ]
    return COSINE_SCALE * torch.stack(cosines, dim=1)


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean cross-entropy of each image over the pixels not to be ignored, float (n,); 0 if none.

    `logits` (n, 2, h, w) are resized (bilinear, corners aligned) to `masks`, uint8 (n, H, W).
    """
    size = (masks.shape[-2], masks.shape[-1])
    resized = F.interpolate(logits, size=size, mode="bilinear", align_corners=True)
    losses = F.cross_entropy(resized, masks.long(), ignore_index=IGNORE, reduction="none")
    return losses.sum((1, 2)) / (masks != IGNORE).sum((1, 2)).clamp_min(1)

"""SegGPT behind the `Segmenter` protocol: the support pairs are its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aligndiff.segmenters.base import Encoded, SupportItem
from aligndiff.segmenters.prompts import KeepsImages, PromptedImage, heaviest

PROMPTS_AT_MOST = 8  # pairs, the heaviest ones: each costs a pass over twice the image
LABELS = 1  # beside the background, which is black; the object is white


class SegGptSegmenter(KeepsImages):
    """SegGPT, its prompts joined by feature ensemble."""

    def __init__(
        self, network: Any, processor: Any, device: torch.device, dtype: torch.dtype
    ) -> None:
        """`network` and `processor` are SegGptForImageSegmentation and SegGptImageProcessor."""
        self.network = network.eval().requires_grad_(False).to(device, dtype)
        self.processor, self.device, self.dtype = processor, device, dtype
        self._prompts: dict[str, Tensor] | None = None

    def set_support(
        self, support: Sequence[SupportItem], weights: Sequence[float] | None = None
    ) -> None:
        """See `Segmenter`. The heaviest pairs are the prompts, all alike."""
        chosen = heaviest(support, weights, PROMPTS_AT_MOST)
        prompts = self.processor(
            images=None,
            prompt_images=[Image.fromarray(pair.image) for pair in chosen],
            prompt_masks=[Image.fromarray(pair.mask) for pair in chosen],
            num_labels=LABELS,
            return_tensors="pt",
        )
        self._prompts = {name: value.to(self.device, self.dtype) for name, value in prompts.items()}

    @torch.inference_mode()
    def segment(self, encoded: Encoded) -> NDArray[np.float32]:
        """See `Segmenter`. Raises RuntimeError before `set_support`."""
        if self._prompts is None:
            raise RuntimeError("call set_support(support) before segment(encoded)")
        assert isinstance(encoded, PromptedImage)
        query = self.processor(images=[Image.fromarray(encoded.image)], return_tensors="pt")
        pixels = query["pixel_values"].to(self.device, self.dtype)
        count = len(next(iter(self._prompts.values())))
        answer = self.network(
            pixel_values=pixels.expand(count, -1, -1, -1), feature_ensemble=True, **self._prompts
        )
        answer.pred_masks = answer.pred_masks[:1].float()  # the ensemble gives each prompt the same
        (judged,) = self.processor.post_process_semantic_segmentation(
            answer,
            target_sizes=[encoded.image.shape[:2]],
            num_labels=LABELS,
            return_segmentation_scores=True,
        )
        probability: NDArray[np.float32] = palette_probability(judged.segmentation_scores)
        return probability


def palette_probability(scores: Tensor) -> NDArray[np.float32]:
    """Probability of white, (h, w), from minus the squared distances to black and white, (2, h, w).

    Above 1/2 where white is nearer, as the library's own answer.
    """
    black, white = -scores
    probability: NDArray[np.float32] = (black / (black + white)).float().cpu().numpy()
    return probability

"""SAM 3 behind the `Segmenter` protocol: the boxes of the support masks are its exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from aligndiff.segmenters.base import Encoded, SupportItem
from aligndiff.segmenters.prompts import KeepsImages, PromptedImage, PromptPair, heaviest
from aligndiff.segmenters.sam3.collage import PAIRS_AT_MOST, Collage, compose

LEAST_SCORE = 0.5  # from which on an object counts that SAM 3 names, as in its own processor


class Sam3Segmenter(KeepsImages):
    """SAM 3, asked with a picture of the support and the query; a whole pass for each query."""

    def __init__(
        self,
        network: Any,
        processor: Any,
        device: torch.device,
        dtype: torch.dtype,
        least_score: float = LEAST_SCORE,
    ) -> None:
        """`network` and `processor` are Sam3Model and Sam3Processor."""
        self.network = network.eval().requires_grad_(False).to(device, dtype)
        self.processor, self.device, self.dtype = processor, device, dtype
        self.least_score = least_score
        self._pairs: list[PromptPair] | None = None

    def set_support(
        self, support: Sequence[SupportItem], weights: Sequence[float] | None = None
    ) -> None:
        """See `Segmenter`. The heaviest pairs lie beside the query, all alike."""
        self._pairs = heaviest(support, weights, PAIRS_AT_MOST)

    def segment(self, encoded: Encoded) -> NDArray[np.float32]:
        """See `Segmenter`. Raises RuntimeError before `set_support`."""
        if self._pairs is None:
            raise RuntimeError("call set_support(support) before segment(encoded)")
        assert isinstance(encoded, PromptedImage)
        h, w = encoded.image.shape[:2]
        collage = compose(self._pairs, encoded.image, self.processor.target_size)
        if not collage.boxes:
            return np.zeros((h, w), np.float32)
        probability = self.probability(collage)[collage.query.within]
        return np.asarray(cv2.resize(probability, (w, h)), np.float32).clip(0, 1)

    @torch.inference_mode()
    def probability(self, collage: Collage) -> NDArray[np.float32]:
        """Of any of the objects that SAM 3 names, float32 (side, side) in [0, 1]."""
        inputs = self.processor(
            images=Image.fromarray(collage.image),
            input_boxes=[[list(box) for box in collage.boxes]],
            input_boxes_labels=[[1] * len(collage.boxes)],
            return_tensors="pt",
        )
        outputs = self.network(
            pixel_values=inputs["pixel_values"].to(self.device, self.dtype),
            input_ids=inputs["input_ids"].to(self.device),
            attention_mask=inputs["attention_mask"].to(self.device),
            input_boxes=inputs["input_boxes"].to(self.device, self.dtype),
            input_boxes_labels=inputs["input_boxes_labels"].to(self.device),
        )
        return joined(outputs, self.least_score, collage.image.shape[0])


def joined(outputs: Any, least_score: float, side: int) -> NDArray[np.float32]:
    """The masks of the objects with a score above `least_score`, float32 (side, side) in [0, 1].

    A score is that of the object times that of anything being there, as the library has it.
    """
    scores = outputs.pred_logits[0].float().sigmoid()
    if outputs.presence_logits is not None:
        scores = scores * outputs.presence_logits[0].float().sigmoid()
    masks: Tensor = outputs.pred_masks[0][scores > least_score].float().sigmoid()
    if not len(masks):
        return np.zeros((side, side), np.float32)
    size = side, side
    large = torch.nn.functional.interpolate(masks[None], size, mode="bilinear", align_corners=False)
    probability: NDArray[np.float32] = large[0].amax(0).cpu().numpy()
    return probability

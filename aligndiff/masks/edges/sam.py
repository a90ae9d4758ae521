"""Edges by Segment Anything (SAM, SAM 2 or SAM-HQ of transformers), asked about the map's object.

The prompts of SAMRefiner (Lin et al., ICLR 2025): a grown box, a point inside, a point outside and
the soft map itself, together; of the answers the one with the best predicted IoU. The answer is
taken in a band along the map's edge and where the map is undecided; elsewhere the map stays, and
where both differ there the pixel is undecided. An answer about something else is not taken at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.masks.edges.base import Edged, EdgeRefiner
from aligndiff.masks.regions import intersection_over_union

Uint8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

BOX_GROWTH = 0.08  # of the box's sides, on each side
BAND = 0.08  # half the band's width over the square root of the object's area
UNSURE = 0.25, 0.75  # between these the map is undecided
LOGIT_LIMIT = 6.0  # of the soft prompt
# (IoU with the map, predicted IoU) from which on an answer is taken.
ACCEPTED = ((0.9, 0.9), (0.8, 0.8), (0.7, 0.8), (0.5, 0.5))
# By their model_type. The published SAM 2 files name the video model that they belong to, too.
KINDS = {
    "sam": "SamModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "sam_hq": "SamHQModel",
}
# ImageNet's, as the processors of all three have them.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Prompts:
    """What SAM is asked with, in pixels (x, y) of the image."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    points: tuple[tuple[float, float], ...]  # the first is on the object, the others beside it


@dataclass(frozen=True)
class SamAnswer:
    """SAM's best mask, bool (h, w), and the IoU in [0, 1] that it predicts for it."""

    mask: Bool
    predicted_iou: float


class Segmentation(Protocol):
    """Answers prompts about an image."""

    def __call__(self, image: Uint8, prompts: Prompts, probability: Float) -> SamAnswer:
        """`image` uint8 (h, w, 3), `probability` float32 (h, w), the soft prompt."""


@dataclass(frozen=True)
class SamEdges:
    """SAM's edges, where it agrees with the map and trusts itself: by these IoUs at least."""

    ask: Segmentation = field(repr=False)
    least_iou: float
    least_sure: float

    def __call__(self, image: Uint8, probability: Float) -> Edged:
        mask = probability > 0.5
        if not mask.any() or mask.all():
            return Edged(probability)
        answer = self.ask(image, prompts_of(probability), probability)
        agreement = intersection_over_union(answer.mask, mask)
        if agreement < self.least_iou or answer.predicted_iou < self.least_sure:
            return Edged(probability)
        return written_in_band(probability, answer.mask)

    def __str__(self) -> str:
        return f"sam, IoU {self.least_iou:g}, predicted IoU {self.least_sure:g}"


def prompts_of(probability: Float) -> Prompts:
    """A box grown around the object, its innermost point, and the box's point farthest from it.

    `probability` is float32 (h, w) with some pixels above one half, and some not.
    """
    mask = (probability > 0.5).astype(np.uint8)
    h, w = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    dx, dy = BOX_GROWTH * (right - left), BOX_GROWTH * (bottom - top)
    box = max(0, left - dx), max(0, top - dy), min(w, right + dx), min(h, bottom + dy)
    bordered = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    inside = cv2.distanceTransform(bordered, cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    in_box = np.zeros_like(outside)
    part = np.s_[int(box[1]) : int(np.ceil(box[3])), int(box[0]) : int(np.ceil(box[2]))]
    in_box[part] = outside[part]
    points = [_peak(inside)] + ([_peak(in_box)] if in_box.any() else [])
    return Prompts(tuple(float(value) for value in box), tuple(points))  # type: ignore[arg-type]


def _peak(distances: NDArray[Any]) -> tuple[float, float]:
    y, x = np.unravel_index(int(distances.argmax()), distances.shape)
    return float(x) + 0.5, float(y) + 0.5


def written_in_band(probability: Float, answer: Bool) -> Edged:
    """`answer` written into the map along its edge and where it is undecided.

    Beyond, the map stays as it is; where the answer contradicts it there, nobody knows.
    """
    mask = probability > 0.5
    width = 2 * max(1, round(BAND * float(np.sqrt(mask.sum())))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    solid = mask.astype(np.uint8)
    band = cv2.dilate(solid, kernel) != cv2.erode(solid, kernel)
    open_ = band | ((probability > UNSURE[0]) & (probability < UNSURE[1]))
    written = np.where(open_, answer.astype(np.float32), probability).astype(np.float32)
    return Edged(written, ~open_ & (mask != answer))


@dataclass(frozen=True)
class SamNetwork:
    """A SAM of transformers behind `Segmentation`.

    SAM 2 squeezes an image into its square input, the others fill the square up.
    """

    model: Any
    squeezes: bool

    def __call__(self, image: Uint8, prompts: Prompts, probability: Float) -> SamAnswer:
        import torch

        h, w = image.shape[:2]
        scale = self._scale(h, w)
        device = self.model.device
        box = torch.tensor([[prompts.box]], device=device) * scale.repeat(2)
        points = torch.tensor([[prompts.points]], device=device) * scale
        labels = torch.tensor([[[1] + [0] * (len(prompts.points) - 1)]], device=device)
        with torch.inference_mode():
            out = self.model(
                pixel_values=self._pixels(image).to(device, self.model.dtype),
                input_boxes=box,
                input_points=points,
                input_labels=labels,
                input_masks=self._soft_prompt(probability).to(device, self.model.dtype),
                multimask_output=True,
            )
        best = int(out.iou_scores[0, 0].argmax())
        logits = out.pred_masks[0, 0, best].float().cpu().numpy()
        return SamAnswer(self._enlarged(logits, h, w) > 0, float(out.iou_scores[0, 0, best]))

    @property
    def side(self) -> int:
        """Of the square input, in px."""
        return int(self.model.prompt_encoder.input_image_size)

    def _size(self, h: int, w: int) -> tuple[int, int]:
        """(h, w) of the image within the square input."""
        if self.squeezes:
            return self.side, self.side
        scale = self.side / max(h, w)
        return round(h * scale), round(w * scale)

    def _scale(self, h: int, w: int) -> Any:
        import torch

        inner_h, inner_w = self._size(h, w)
        return torch.tensor([inner_w / w, inner_h / h], device=self.model.device)

    def _pixels(self, image: Uint8) -> Any:
        import torch

        inner_h, inner_w = self._size(*image.shape[:2])
        resized = cv2.resize(image, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR)
        mean, deviation = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)
        normal = (np.asarray(resized, np.float32) / 255 - mean) / deviation
        square = np.zeros((self.side, self.side, 3), np.float32)
        square[:inner_h, :inner_w] = normal
        return torch.from_numpy(square).permute(2, 0, 1)[None]

    def _soft_prompt(self, probability: Float) -> Any:
        import torch

        clipped = probability.clip(1e-4, 1 - 1e-4)
        logits = np.log(clipped / (1 - clipped)).clip(-LOGIT_LIMIT, LOGIT_LIMIT)
        inner_h, inner_w = self._size(*probability.shape)
        square = np.full((self.side, self.side), -LOGIT_LIMIT, np.float32)
        square[:inner_h, :inner_w] = cv2.resize(logits, (inner_w, inner_h))
        cells = 4 * self.model.prompt_encoder.image_embedding_size[0]
        small = cv2.resize(square, (cells, cells), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small)[None, None]

    def _enlarged(self, logits: Float, h: int, w: int) -> Float:
        inner_h, inner_w = self._size(h, w)
        square = cv2.resize(logits, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        inner = square[:inner_h, :inner_w]
        return np.asarray(cv2.resize(inner, (w, h)), np.float32)


def check(model: str | None) -> None:
    """Raise InputError or MissingWeightsError for a folder that holds no SAM; loads nothing."""
    if model is None:
        raise MissingWeightsError(
            "--refine_edges sam: name its weights, --edge_model FOLDER or a hub name such as "
            "facebook/sam-vit-base"
        )
    if Path(model).is_dir():
        _kind_of(Path(model))
    elif model.count("/") != 1 or model.startswith(("/", ".")):
        raise MissingWeightsError(f"--edge_model {model}: no such folder, and no hub name")


def _kind_of(folder: Path) -> str:
    config = folder / "config.json"
    kind = json.loads(config.read_text()).get("model_type") if config.is_file() else None
    if kind not in KINDS:
        raise InputError(
            f"--edge_model {folder}: holds no model of {', '.join(KINDS)} (model_type {kind})"
        )
    return str(kind)


def load_sam(model: str, device: str) -> SamNetwork:
    """SAM from a folder or the hub, float32. Raises MissingWeightsError when it cannot be had."""
    import transformers

    from aligndiff.core.device import choose_device

    check(model)
    try:
        kind = transformers.AutoConfig.from_pretrained(model).model_type
        if kind not in KINDS:
            raise InputError(f"--edge_model {model}: is a {kind}, not one of {', '.join(KINDS)}")
        network = getattr(transformers, KINDS[kind]).from_pretrained(model)
    except (OSError, ValueError) as error:
        raise MissingWeightsError(f"--edge_model {model}: cannot be loaded: {error}") from error
    return SamNetwork(network.eval().to(choose_device(device)), kind.startswith("sam2"))


def settings(model: str | None, device: str) -> Sequence[EdgeRefiner]:
    """Every pair of bounds, the strictest first, with one network."""
    check(model)
    network = load_sam(str(model), device)
    return [SamEdges(network, *bounds) for bounds in ACCEPTED]

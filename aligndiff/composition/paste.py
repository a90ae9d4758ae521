"""Pasting one thing into a scene, and what becomes of the scene's mask."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.composition.colour import fit_colours
from aligndiff.composition.instance import Instance, Sides
from aligndiff.composition.placement import Placement
from aligndiff.composition.recipe import Finish
from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT, Uint8, resize_cut_out

_HALF = 128  # of a coverage of 255: a pixel belongs to what covers half of it


@dataclass(frozen=True)
class Composite:
    """A scene, as far as it has been composed.

    Attributes:
        image: uint8 RGB (h, w, 3).
        mask: uint8 (h, w): 0 background, 1 object, 255 ignore (along pasted edges).
        front: uint8 (h, w): how much of a pixel objects cover, 255 all of it; None as by the mask.
    """

    image: Uint8
    mask: Uint8
    front: Uint8 | None = None

    @property
    def coverage(self) -> Uint8:
        """How much of each pixel objects cover, uint8 (h, w); what is unknown counts as object."""
        if self.front is not None:
            return self.front
        return (self.mask != BACKGROUND).astype(np.uint8) * np.uint8(255)

    @property
    def area(self) -> int:
        """How many pixels are object."""
        return int(np.count_nonzero(self.mask == OBJECT))


@dataclass(frozen=True)
class _Window:
    """Where a layer lies in a scene, and the part of it that lies inside: slices of both."""

    scene: tuple[slice, slice]
    layer: tuple[slice, slice]


def empty(image: Uint8) -> Composite:
    """A scene without an object."""
    return Composite(image, np.full(image.shape[:2], BACKGROUND, dtype=np.uint8))


def paste(
    scene: Composite,
    instance: Instance,
    placement: Placement,
    label: int = OBJECT,
    finish: Finish | None = None,
) -> Composite:
    """The scene with the instance in it, as a new one.

    label: what its pixels mean: 1 the object, 0 something else, which hides what it covers.
    Arithmetic is of whole numbers, so every machine and any number of threads give the same bytes.
    """
    finish = finish or Finish()
    layer = _layer(instance, placement, scene.mask.shape)
    window = _window(layer.shape, instance.cut, placement, scene.mask.shape)
    if window is None:
        return scene
    feather, band = (_pixels(part, scene.mask.shape) for part in (finish.feather, finish.band))
    coverage = _feathered(layer[..., 3], feather)[window.layer]
    colours = layer[..., :3][window.layer]
    if placement.behind:
        coverage = _scaled(coverage, 255 - scene.coverage[window.scene])
    under = scene.image[window.scene]
    colours = fit_colours(colours, coverage >= _HALF, under, placement.colour_fit)
    image, mask, front = scene.image.copy(), scene.mask.copy(), scene.coverage.copy()
    image[window.scene] = _blend(colours, coverage, under)
    pasted = np.zeros(mask.shape, dtype=np.bool_)
    pasted[window.scene] = coverage >= _HALF
    mask[pasted] = label
    if band:
        mask[_edge(pasted, band) & _edge(mask == OBJECT, band)] = IGNORE
    covered = _scaled(front[window.scene], 255 - coverage)
    front[window.scene] = covered + coverage if label == OBJECT else covered
    return Composite(image, mask, front)


def _layer(instance: Instance, placement: Placement, scene: tuple[int, ...]) -> Uint8:
    """The instance in the size of its placement, uint8 RGBA (h, w, 4); 255 covers all."""
    height, width = instance.mask.shape
    factor = placement.scale * min(scene) / max(height, width)
    # What two opposite edges of a photo cut reaches from one edge of the scene to the other.
    if instance.cut.left and instance.cut.right:
        factor = max(factor, scene[1] / width)
    if instance.cut.top and instance.cut.bottom:
        factor = max(factor, scene[0] / height)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    coverage = (instance.mask == OBJECT).astype(np.uint8) * np.uint8(255)
    layer = np.concatenate([instance.image, coverage[..., None]], axis=2)
    layer = resize_cut_out(layer, size)
    return np.ascontiguousarray(layer[:, ::-1] if placement.flip else layer)


def _window(
    layer: tuple[int, ...], cut: Sides, placement: Placement, scene: tuple[int, ...]
) -> _Window | None:
    """Where a layer of this size lies; None where all of it is outside."""
    cut = cut.flipped() if placement.flip else cut
    top = round(placement.foot.row * scene[0]) - layer[0]
    left = round(placement.foot.column * scene[1] - layer[1] / 2)
    top = _at_edge(top, layer[0], scene[0], cut.top, cut.bottom)
    left = _at_edge(left, layer[1], scene[1], cut.left, cut.right)
    in_scene, in_layer = [], []
    for start, length, most in ((top, layer[0], scene[0]), (left, layer[1], scene[1])):
        first, last = max(start, 0), min(start + length, most)
        if first >= last:
            return None
        in_scene.append(slice(first, last))
        in_layer.append(slice(first - start, last - start))
    return _Window((in_scene[0], in_scene[1]), (in_layer[0], in_layer[1]))


def _at_edge(start: int, length: int, most: int, at_start: bool, at_end: bool) -> int:
    """Where a layer begins, along one axis, if it is cut at its start or its end."""
    if at_start and not at_end:
        return min(start, 0)
    if at_end and not at_start:
        return max(start, most - length)
    if at_start and at_end:
        return min(max(start, most - length), 0)
    return start


def _feathered(coverage: Uint8, width: int) -> Uint8:
    """Coverage, uint8 (h, w), that falls off over `width` pixels within its edge.

    Where the edge of the photo cuts the object, nothing falls off.
    """
    if not width:
        return coverage
    side = 2 * width + 1
    soft = cv2.blur(coverage, (side, side), borderType=cv2.BORDER_CONSTANT)
    return np.minimum(coverage, np.asarray(soft, dtype=np.uint8))


def _scaled(values: Uint8, parts: Uint8) -> Uint8:
    """values * parts / 255, rounded."""
    product = values.astype(np.uint16) * parts + np.uint16(127)
    return (product // 255).astype(np.uint8)


def _blend(over: Uint8, coverage: Uint8, under: Uint8) -> Uint8:
    """`over` where it covers, uint8 (h, w, 3) and (h, w); `under` where it does not."""
    part = coverage[..., None].astype(np.int32)
    mixed = over * part + under * (255 - part) + 127
    return (mixed // 255).astype(np.uint8)


def _edge(area: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The pixels within `width` of the outline of an area, on both of its sides: bool (h, w)."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    # cv2's own border neither grows nor shrinks: the scene's edge is no edge of what is pasted.
    grown, shrunk = (change(area.astype(np.uint8), kernel) for change in (cv2.dilate, cv2.erode))
    return np.asarray(grown > shrunk, dtype=np.bool_)


def _pixels(part: float, scene: tuple[int, ...]) -> int:
    return max(1, round(part * min(scene))) if part else 0

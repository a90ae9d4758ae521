"""Company: of a mask's connected regions, those that are the object of the support pairs.

A thing beside the object often gets into the mask. A region is kept where it resembles the support
objects about as much as they resemble each other (each against the others), by its look and by
its outline; several may be kept. A thing that touches the object is cut off where both meet in a
neck. No network need be asked, so it works behind any segmenter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.masks.necks import parts_at_necks
from aligndiff.masks.regions import intersection_over_union, label_regions, least_area

Uint8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
# Of an image and its regions, bool (h, w) each: how much rather than another thing each is the
# object, above 0 where it is. What a network says is asked only where there is a choice.
Judge = Callable[[Uint8, Sequence[Bool]], Sequence[float]]

CELLS = 32  # of an image along each side: the places whose looks are compared
NEAREST = 3  # cells of the support that a cell is compared with
LOOK_REACH = 0.25  # distance of two looks over which their likeness falls to 1 / e
OUTLINE_SIDE = 48  # px of the canvas on which outlines are laid over each other
OUTLINE_SCALE = 0.32  # of its side: the square root of an outline's area there
# Supports are few: a spread of nothing would call every other object a stranger.
SPREAD_FACTOR, LEAST_SPREAD = 1.1, 0.05
STRANGE = 6.0  # squared deviations, look and outline together, from which on a region is left out
# Of the largest region: what is smaller may be a part of the object, and is not all of it. A spot
# of an object's colour is quite like it, and round things are as round when they are small.
PART = 0.1
TOUCHING = 0.2  # of a region: the least part of it that may be the object, touched by another thing
SAME = 0.5  # of the best region's judgement: from there on another one is the object, too
MOST_REGIONS = 12  # the largest are looked at; the others are specks of an unsure mask


@dataclass(frozen=True)
class _Seen:
    """An object as it is compared: looks of its cells, float32 (n, 6), and outline, bool (s, s)."""

    looks: Float
    outline: Bool


@dataclass(frozen=True)
class ObjectLikeness:
    """What the support objects look like, and how much they resemble each other.

    `usual` and `spread` are (look, outline), the mean and the standard deviation of the likeness
    of each support object to the others.
    """

    supports: tuple[_Seen, ...]
    usual: Float
    spread: Float

    def strangeness(self, image: Uint8, mask: Bool) -> float:
        """Squared deviations of a region from the support, 0 for one that is quite like it."""
        likeness = _likeness(_see(image, mask), self.supports)
        short = np.clip((self.usual - likeness) / self.spread, 0, None)
        return float((short**2).sum())


@dataclass(frozen=True)
class Alone:
    """A map without company.

    Attributes:
        probability: float32 (h, w), 0 at what is not the object.
        elsewhere: bool (h, w), these pixels; None where there was nothing to choose.
        strangeness: of what is kept, where there was.
    """

    probability: Float
    elsewhere: Bool | None = None
    strangeness: float = 0.0

    @property
    def likeness(self) -> float:
        """How like the support it is, in (0, 1]: 1 where there was nothing to choose."""
        return float(np.exp(-self.strangeness / STRANGE))


def learn_likeness(images: Sequence[Uint8], masks: Sequence[Bool]) -> ObjectLikeness | None:
    """From the support's images, uint8 (h, w, 3), and object masks, bool (h, w).

    None where there are fewer than two: nothing tells then how much objects may differ.
    """
    seen = [_see(image, mask) for image, mask in zip(images, masks, strict=True) if mask.any()]
    if len(seen) < 2:
        return None
    rest = [[other for other in seen if other is not own] for own in seen]
    likeness = np.array([_likeness(*pair) for pair in zip(seen, rest, strict=True)], np.float32)
    spread = SPREAD_FACTOR * likeness.std(0) + LEAST_SPREAD
    return ObjectLikeness(tuple(seen), likeness.mean(0), spread)


def object_regions(
    image: Uint8, mask: Bool, likeness: ObjectLikeness, judge: Judge | None = None
) -> Bool:
    """The regions of `mask`, bool (h, w), that are the object: the likest large one and its likes.

    A region that is strange by itself stays where it completes the outline: parts of one object.
    A `judge` says which of the large ones are the object, unless it sees it in none.
    """
    regions = _candidates(image, mask, likeness)
    if len(regions) < 2:
        return regions[0] if regions else mask
    likes, others = _sorted_out(image, regions, likeness, judge)
    strangeness = likeness.strangeness(image, regions[likes[0]])
    kept = np.logical_or.reduce([regions[number] for number in likes])
    for number in others:
        together = kept | regions[number]
        if (of_both := likeness.strangeness(image, together)) <= strangeness:
            kept, strangeness = together, of_both
    return np.asarray(kept, bool)


def _sorted_out(
    image: Uint8, regions: Sequence[Bool], likeness: ObjectLikeness, judge: Judge | None
) -> tuple[list[int], list[int]]:
    """The numbers of the regions that are the object, the surest first; and those that may be

    parts of it, the likest first.
    """
    areas = [np.count_nonzero(region) for region in regions]
    alone = [likeness.strangeness(image, region) for region in regions]
    order = sorted(range(len(regions)), key=alone.__getitem__)
    large = [number for number in order if areas[number] >= PART * max(areas)]
    if judge is not None and len(large) > 1:
        judged = dict(zip(large, judge(image, [regions[n] for n in large]), strict=True))
        if (best := max(judged.values())) > 0:
            likes = sorted(large, key=judged.__getitem__, reverse=True)
            likes = [number for number in likes if judged[number] >= SAME * best]
            small = [number for number in order if number not in judged]
            likes += [number for number in small if alone[number] <= STRANGE]
            return likes, [number for number in small if alone[number] > STRANGE]
    rest = [number for number in order if number != large[0]]
    likes = [large[0], *(number for number in rest if alone[number] <= STRANGE)]
    return likes, [number for number in rest if alone[number] > STRANGE]


def without_company(
    image: Uint8,
    probability: Float,
    threshold: float,
    likeness: ObjectLikeness,
    judge: Judge | None = None,
) -> Alone:
    """`probability`, float32 (h, w), with zeros at the regions that are not the object.

    Regions are those above `threshold`; a pixel below it goes with the pixel of one nearest to it.
    """
    mask = probability > threshold
    kept = object_regions(image, mask, likeness, judge)
    if not (mask & ~kept).any():
        return Alone(probability)
    _, nearest = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    keeps = np.zeros(int(nearest.max()) + 1, bool)
    keeps[nearest[kept]] = True
    elsewhere = ~keeps[nearest]
    alone = np.where(elsewhere, np.float32(0), probability)
    return Alone(alone, elsewhere, likeness.strangeness(image, kept))


def _candidates(image: Uint8, mask: Bool, likeness: ObjectLikeness) -> list[Bool]:
    """The largest regions, bool (h, w) each; of a strange one its parts, if the object is there."""
    labels, areas = label_regions(mask)
    candidates: list[Bool] = []
    for at in np.argsort(-areas)[:MOST_REGIONS]:
        if areas[at] < least_area(mask):
            break
        region = labels == at + 1
        candidates += _parted(image, region, likeness)
    return candidates


def _parted(image: Uint8, region: Bool, likeness: ObjectLikeness) -> list[Bool]:
    """The object and what touches it, where only a large part of the region is like the object."""
    parts = parts_at_necks(region)
    if len(parts) < 2 or likeness.strangeness(image, region) <= STRANGE:
        return [region]
    enough = TOUCHING * np.count_nonzero(region)
    large = [part for part in parts if np.count_nonzero(part) >= enough]
    is_there = any(likeness.strangeness(image, part) <= STRANGE for part in large)
    return parts if is_there else [region]


def _see(image: Uint8, mask: Bool) -> _Seen:
    return _Seen(_looks(image, mask), _outline(mask))


def _looks(image: Uint8, mask: Bool) -> Float:
    """Mean and deviation of the CIELAB colour of the mask's cells, float32 (n, 6), about [0, 1]."""
    size = CELLS, CELLS
    lab = cv2.cvtColor(_reduced(image).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mean = cv2.resize(lab, size, interpolation=cv2.INTER_AREA)
    variance = cv2.resize(lab * lab, size, interpolation=cv2.INTER_AREA) - mean * mean
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA).ravel()
    enough = min(0.5, float(np.sort(share)[-NEAREST]))  # a thin object fills no cell
    deviation = np.sqrt(np.clip(variance, 0, None))
    looks = np.concatenate([mean.reshape(-1, 3) / (100, 60, 60), deviation.reshape(-1, 3) / 40], 1)
    chosen: Float = looks[share >= max(enough, 1e-6)].astype(np.float32)
    return chosen


def _reduced(image: Uint8) -> Uint8:
    """The image at a quarter of 1024 px at most: cells need no more."""
    scale = 8 * CELLS / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _outline(mask: Bool) -> Bool:
    """The mask with its centre of mass and its area where all others have theirs."""
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    area = max(moments["m00"], 1.0)
    scale = OUTLINE_SCALE * OUTLINE_SIDE / area**0.5
    middle = OUTLINE_SIDE / 2
    move = [
        [scale, 0, middle - scale * moments["m10"] / area],
        [0, scale, middle - scale * moments["m01"] / area],
    ]
    size = OUTLINE_SIDE, OUTLINE_SIDE
    return cv2.warpAffine(mask.astype(np.float32), np.array(move), size) > 0.5


def _likeness(one: _Seen, supports: Sequence[_Seen]) -> Float:
    """Of an object with the support: by look and by outline, each in [0, 1]."""
    known = np.concatenate([other.looks for other in supports])
    squares = (one.looks**2).sum(1)[:, None] + (known**2).sum(1) - 2 * one.looks @ known.T
    count = min(NEAREST, len(known))
    nearest = np.partition(squares, count - 1, axis=1)[:, :count]
    away = np.sqrt(np.clip(nearest, 0, None)).mean(1)
    mirrored = one.outline[:, ::-1]
    outline = max(
        intersection_over_union(side, other.outline)
        for other in supports
        for side in (one.outline, mirrored)
    )
    return np.array([np.exp(-away / LOOK_REACH).mean(), outline], np.float32)

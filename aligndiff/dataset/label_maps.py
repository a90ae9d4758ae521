"""Label maps: which levels are background, which are ignored, and how messages name them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.dataset.colour_map import VOID_COLOUR
from aligndiff.dataset.images import IGNORE, Uint8
from aligndiff.dataset.levels import Levels

_WHITE = (255, 255, 255)
_DARK = 24  # a colour's brightest channel up to which it is black, when JPEG changed it
_CLASS_NUMBERS = 64  # greys below it are taken for class numbers, beside which 255 is ignored
_RUN = 3  # so many last numbers in a row are instances, up to 255
_NEAR = 10  # how far a level may be from the colour of a class after JPEG
_SHOWN = 8  # values that a message lists
_RIM = 7  # px; the least width of an area that is no rim
_RIM_SHARE = 0.02  # the same of the shorter side


class UnclearMaskError(Exception):
    """A file that is no mask, or that can be read in two ways; the words say what it holds."""


class PhotoError(UnclearMaskError):
    """A file that has no areas of one value, and so is no mask."""

    def __init__(self) -> None:
        super().__init__(
            "looks like a photo, not like a mask: it has no areas of one value; save the mask as a "
            "black and white PNG"
        )


def without_edges(levels: Levels) -> Levels:
    """Levels without those that are but mixtures at edges, whose pixels go to the nearest area."""
    thin = len(levels) - len(levels.areas)
    top = len(levels) - 1
    if not levels.exact or thin <= 3 or thin <= len(levels.areas) or not levels.areas:
        return levels
    kept = sorted({*levels.areas, top} if levels.grey else levels.areas)
    colours = levels.colours[kept].astype(np.int64)
    distance = ((levels.colours[:, None] - colours[None]) ** 2).sum(axis=2)
    codes = distance.argmin(axis=1).astype(np.int32)[levels.codes]
    return replace(
        levels,
        codes=codes,
        numbers=levels.numbers[kept],
        colours=levels.colours[kept],
        counts=np.bincount(codes.ravel(), minlength=len(kept)),
        areas=tuple(range(len(kept))),
    )


def ground_levels(levels: Levels) -> list[int]:
    """The black levels: exactly black where there is any, else nearly so after JPEG."""
    greys = levels.greys
    black = [at for at in range(len(levels)) if greys[at] == 0]
    if not black and not levels.exact and greys[0] <= _DARK:
        return [0]
    return black


def void_levels(levels: Levels, ground: list[int]) -> list[int]:
    """The levels that mean "ignore": VOC's colour, index 255, and 255 or white as a rim."""
    others = [at for at in range(len(levels)) if at not in ground]
    void = [at for at in others if _is_near(levels, at, VOID_COLOUR)]
    if not levels.grey and len(others) > 1:
        void += [at for at in others if levels.numbers[at] == IGNORE and at not in void]
    tops = [at for at in others if _is_top(levels, at) and at not in void]
    classes = [at for at in others if at not in void and at not in tops]
    if not tops or not classes:
        return void
    if _is_rim(levels, tops, classes) or _are_class_numbers(levels, classes):
        return void + tops
    if levels.grey and set(range(256 - _RUN, 256)) <= set(levels.greys.tolist()):
        return void
    raise UnclearMaskError(
        f'{held(levels)}: is {level_name(levels, tops[0])} a class, or "ignore"? Add '
        f'"mask_class": "any" (all of them are the object) or one of {choices(levels)}'
    )


def _is_top(levels: Levels, at: int) -> bool:
    """Whether a level is white, or the largest number of 8 or 16 bits."""
    if not levels.grey:
        return _is_near(levels, at, _WHITE)
    if not levels.exact:
        return bool(levels.greys[at] >= 255 - _NEAR)
    return int(levels.greys[at]) in (255, 65535) and at == len(levels) - 1


def _is_near(levels: Levels, at: int, colour: tuple[int, int, int]) -> bool:
    difference = np.abs(levels.colours[at] - np.array(colour)).max()
    return bool(difference <= (0 if levels.exact else _NEAR))


def _are_class_numbers(levels: Levels, classes: list[int]) -> bool:
    return levels.grey and levels.exact and int(levels.greys[classes].max()) < _CLASS_NUMBERS


def _is_rim(levels: Levels, rim: list[int], classes: list[int]) -> bool:
    """Whether some levels are but a thin line around others, as wide as in VOC or a bit more."""
    width = max(_RIM, round(_RIM_SHARE * min(levels.codes.shape))) | 1
    kernel = np.ones((width, width), dtype=np.uint8)
    region = levels.where(rim).astype(np.uint8)
    thick = cv2.morphologyEx(region, cv2.MORPH_OPEN, kernel)
    beside = cv2.dilate(levels.where(classes).astype(np.uint8), kernel) > 0
    total = int(region.sum())
    return int(thick.sum()) <= 0.05 * total and int(region[beside].sum()) >= 0.5 * total


def with_void(levels: Levels, is_object: NDArray[np.bool_], void: list[int]) -> Uint8:
    mask = is_object.astype(np.uint8)
    if void:
        mask[levels.where(void)] = IGNORE
    return mask


def no_ground(levels: Levels) -> str:
    what = "0 (black)" if levels.grey else "black"
    return (
        f"{held(levels)} and no {what}, so nothing says which is the background; add "
        f'"mask_class": {choices(levels)}, whichever is the object, or make the background black'
    )


def held(levels: Levels) -> str:
    """What a file holds, with the share of each value: "holds 0 (81 %), 15 (17 %), 255 (2 %)"."""
    total = levels.counts.sum()
    order = sorted(np.argsort(-levels.counts, kind="stable")[:_SHOWN].tolist())
    parts = [f"{level_name(levels, at)} ({levels.counts[at] / total:.0%})" for at in order]
    more = len(levels) - len(order)
    return "holds " + ", ".join(parts) + (f" and {more} more values" if more else "")


def level_name(levels: Levels, at: int) -> str:
    if levels.grey:
        return str(int(levels.numbers[at]))
    red, green, blue = (int(channel) for channel in levels.colours[at])
    index = f"{int(levels.numbers[at])} = " if levels.numbers[at] >= 0 else ""
    return f"{index}#{red:02x}{green:02x}{blue:02x}"


def choices(levels: Levels) -> str:
    """What may be typed as the class, ready for JSON."""
    common = np.argsort(-levels.counts, kind="stable").tolist()
    ground = ground_levels(levels)
    order = sorted([at for at in common if at not in ground][:_SHOWN])
    names = [level_name(levels, at).split(" = ")[-1] for at in order]
    quoted = [name if levels.grey else f'"{name}"' for name in names]
    return ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")

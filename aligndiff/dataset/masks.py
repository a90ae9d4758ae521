"""What a mask file means: the one rule, in the order of the table in docs/FORMAT.md.

A file is read by what is in it. Where two readings are possible it is refused, with the values
that it holds and what to type; `mask_class` then says which is the object:

    7           the class or instance of this number (a grey level, a palette's index)
    "#c08080"   the class of this colour
    "any"       everything but the background: 255 and white are object, too
    "trimap"    grey as in matting: dark is background, mid grey is ignored, bright is object
    "alpha"     what is not transparent
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.data.images import BACKGROUND, IGNORE, OBJECT, Uint8
from aligndiff.dataset.levels import Levels, levels_of
from aligndiff.dataset.mask_checks import shape_notes
from aligndiff.dataset.raster import Raster, read_raster, unpack_colours
from aligndiff.ground.errors import InputError
from aligndiff.ground.files import Source

MaskClass = int | str
WORDS = ("any", "trimap", "alpha")  # what a mask class may be besides a number or a colour

_VOC_VOID = (224, 224, 192)  # the colour of index 255 in the palette of Pascal VOC
_WHITE = (255, 255, 255)
_DARK = 24  # a colour's brightest channel up to which it is black, when JPEG changed it
_DARKEST_DRAWING = 32  # grey: drawings are brighter, what is below are numbers
_CLASS_NUMBERS = 64  # greys below it are taken for class numbers, beside which 255 is ignored
_RUN = 3  # so many last numbers in a row are instances, up to 255
_TRIMAP = (16, 100, 156, 239)  # the darkest, from and to the middle, the brightest: of 255
_FEW = 8  # values that no photo is left with
_PHOTO_FLAT = 0.15  # share of flat pixels below which a file is a photo
_LABELS_FLAT, _LABELS_FIT = 0.4, 0.75  # the least of a noisy map of classes: flat, and of a level
_AT_THE_ENDS = 0.75  # share of pixels near black or white, from which on grey is a soft mask
_SOFT_LEVELS = 8  # more inner levels than this, all of them small, are a soft edge
_SOLID_ALPHA = 32  # spread of the transparency, of 255, that has a shape
_DRAWN_COLOURS = 8  # a drawing on transparent ground has at most as many
_NEAR_GREY, _NEAR_COLOUR = 10, 40  # how far from a class the values of a JPEG lie
_SHOWN = 8  # values that a message lists
_RIM = 7  # px; the least width of an area that is no rim
_RIM_SHARE = 0.02  # the same of the shorter side
_PHOTO = (
    "looks like a photo, not like a mask: it has no areas of one value; save the mask as a black "
    "and white PNG"
)
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})|(\d{1,3}), ?(\d{1,3}), ?(\d{1,3})")


@dataclass(frozen=True)
class MaskReading:
    """A mask file as it was read.

    Attributes:
        mask: uint8 (h, w): 0 background, 1 object, 255 ignore.
        notes: what looks wrong or was decided, each a few words without the file's name.
        orientation: EXIF orientation of the file, 1 to 8; 1 where it has none.
    """

    mask: Uint8
    notes: tuple[str, ...] = ()
    orientation: int = 1


class UnclearMaskError(Exception):
    """A file that is no mask, or that can be read in two ways; the words say what it holds."""


def read_mask(path: Source, mask_class: MaskClass | None = None) -> Uint8:
    """Read a mask of any usual kind as uint8 (h, w): 0 background, 1 object, 255 ignore.

    InputError names a file that is missing, broken, no mask, or that can be read in two ways.
    """
    return interpret_mask(path, mask_class).mask


def interpret_mask(path: Source, mask_class: MaskClass | None = None) -> MaskReading:
    """Read a mask as `read_mask` does, with notes on what looks wrong."""
    raster = read_raster(path)
    try:
        reading = mask_of(raster, mask_class)
    except UnclearMaskError as error:
        raise InputError(f"{path}: {error}") from None
    notes = (*reading.notes, *shape_notes(reading.mask, chosen=mask_class is not None))
    return replace(reading, notes=notes, orientation=raster.orientation)


def mask_of(raster: Raster, mask_class: MaskClass | None = None) -> MaskReading:
    """The mask in a decoded file. UnclearMaskError where that is not one thing for certain."""
    visible = _visible(raster)
    if visible is None:
        if mask_class == "alpha":
            raise UnclearMaskError('is not transparent anywhere, but "mask_class" is "alpha"')
        return _of_levels(levels_of(raster), mask_class)
    if mask_class == "alpha" or (mask_class is None and _shape_is_in_alpha(raster, visible)):
        return MaskReading(_alpha_mask(raster, visible))
    # Hidden pixels may have any colour; transparent is background.
    hidden_black = np.where(visible, raster.values, 0)
    opaque = replace(raster, values=_without(hidden_black, raster, visible), alpha=None)
    reading = _of_levels(levels_of(opaque), mask_class)
    return replace(reading, mask=np.where(visible, reading.mask, np.uint8(BACKGROUND)))


def check_mask_class(mask_class: object) -> str | None:
    """What is wrong with the value of `mask_class`, or None."""
    if isinstance(mask_class, int) and not isinstance(mask_class, bool):
        return None if 0 <= mask_class <= 65535 else "must be a number from 0 to 65535"
    if isinstance(mask_class, str) and (mask_class in WORDS or _rgb(mask_class) is not None):
        return None
    return 'must be a class number, a colour as "#c08080", "any", "trimap" or "alpha"'


# ---- transparency


def _visible(raster: Raster) -> NDArray[np.bool_] | None:
    """Where the file is opaque rather than not; None where its transparency has no shape."""
    if raster.alpha is None or int(np.ptp(raster.alpha)) < _SOLID_ALPHA:
        return None
    middle = (int(raster.alpha.min()) + int(raster.alpha.max())) / 2
    return np.asarray(raster.alpha > middle)


def _without(values: NDArray[np.int32], raster: Raster, visible: NDArray[np.bool_]) -> Any:
    """Palette indices whose hidden pixels take an index that is black or not used otherwise."""
    if raster.kind != "palette" or raster.palette is None:
        return values
    used = set(np.unique(raster.values[visible]).tolist())
    black = [index for index in range(256) if not raster.palette[index].any()]
    spare = [index for index in black if index not in used] or black
    return np.where(visible, values, spare[0] if spare else 0)


def _shape_is_in_alpha(raster: Raster, visible: NDArray[np.bool_]) -> bool:
    """Whether the shape is what is opaque: of a cut-out photo, or of shapes of any colour.

    It is not where the opaque part is itself drawn in black and one other colour.
    """
    colours = raster.values[visible]
    if raster.kind == "palette" and raster.palette is not None:
        wide = raster.palette.astype(np.int32)
        colours = ((wide[:, 0] << 16) | (wide[:, 1] << 8) | wide[:, 2])[colours]
    found, counts = np.unique(colours, return_counts=True)
    has_black = found[0] == 0 and counts[0] >= 0.05 * counts.sum()
    if len(found) == 1 or not has_black:
        return True
    if len(found) > 2 and counts[[0, int(counts[1:].argmax()) + 1]].sum() >= 0.9 * counts.sum():
        return False  # black and one other colour, with soft edges
    if 2 < len(found) <= _DRAWN_COLOURS:
        raise UnclearMaskError(
            "is transparent in parts and black in others: which is the background? Add "
            '"mask_class": "alpha" if it is what is transparent, "any" if black is, too'
        )
    return len(found) > 2


def _alpha_mask(raster: Raster, visible: NDArray[np.bool_]) -> Uint8:
    """What is opaque, with the middle of a trimap ignored."""
    assert raster.alpha is not None
    levels = levels_of(Raster(raster.alpha.astype(np.int32), "grey", lossy=raster.lossy))
    if _looks_like_trimap(levels) and _surrounds(levels):
        return _trimap_mask(levels)
    return visible.astype(np.uint8)


# ---- levels


def _of_levels(levels: Levels, mask_class: MaskClass | None) -> MaskReading:
    if mask_class == "alpha":
        raise UnclearMaskError('is not transparent anywhere, but "mask_class" is "alpha"')
    if mask_class == "trimap":
        if not levels.grey:
            raise UnclearMaskError(f"{_held(levels)}: a trimap is grey; correct mask_class")
        return MaskReading(_trimap_mask(levels))
    if mask_class is not None and mask_class != "any":
        return MaskReading(_picked(levels, mask_class))
    if len(levels) == 1:
        is_object = levels.colours.any()
        return MaskReading(np.full(levels.codes.shape, OBJECT * is_object, dtype=np.uint8))
    _refuse_photo(levels)
    if levels.grey:
        return _read_grey(levels, everything=mask_class == "any")
    return _read_labels(levels, everything=mask_class == "any")


def _read_grey(levels: Levels, everything: bool) -> MaskReading:
    greys = levels.greys
    if not levels.exact and greys[-1] < _DARKEST_DRAWING:
        raise UnclearMaskError(
            f"{_held(levels)} in a format that does not keep class numbers; save it as PNG"
        )
    if _is_black_and_white(levels):
        return MaskReading(_halved(levels))
    if not everything and _looks_like_trimap(levels):
        if _surrounds(levels):
            return MaskReading(_trimap_mask(levels))
        raise UnclearMaskError(
            f"{_held(levels)}: a trimap, or two classes? Add \"mask_class\": \"trimap\" (mid grey "
            f'is ignored), "any" (both are object) or one of {_choices(levels)}'
        )
    return _read_labels(levels, everything)


def _is_black_and_white(levels: Levels) -> bool:
    """Whether all is dark or bright, but for soft edges. Numbers are not: 0, 1 and 2."""
    greys, areas = levels.greys, levels.areas
    if len(levels) == 2:
        low, high = int(greys[0]), int(greys[1])
        if low and high - low < _DARKEST_DRAWING:
            raise UnclearMaskError(_no_ground(levels))
        return True
    inner = [at for at in areas if 0 < at < len(levels) - 1]
    if greys[-1] < _DARKEST_DRAWING:  # numbers, unless they look like nothing but edges
        return not inner and len(levels) > 4 and levels.exact
    if not inner or (_is_noisy_gradient(levels) and _is_at_the_ends(levels)):
        return True
    return len(inner) > _SOFT_LEVELS and _is_soft(levels, inner)


def _is_soft(levels: Levels, inner: list[int]) -> bool:
    """Whether many inner levels are but steps between two ends, as in an enlarged soft edge."""
    counts = levels.counts
    ends = min(int(counts[0]), int(counts[-1]))
    return int(counts[inner].max()) * 5 < ends and counts[inner].sum() < 0.3 * counts.sum()


def _halved(levels: Levels) -> Uint8:
    """Object where the file is nearer to its brightest area than to its darkest."""
    ends = [0, len(levels) - 1] if len(levels.areas) < 2 else [levels.areas[0], levels.areas[-1]]
    low, high = levels.greys[ends]
    if high < 2:  # 0 and 1
        return np.asarray(levels.shades > 0, dtype=np.uint8)
    return np.asarray(levels.shades > (int(low) + int(high)) / 2, dtype=np.uint8)


def _looks_like_trimap(levels: Levels) -> bool:
    """Whether the areas are black, mid grey and white."""
    greys = levels.greys
    places = levels.areas if len(levels) > 3 else range(len(levels))
    shades = [int(greys[at]) for at in places]
    if len(shades) != 3 or greys[-1] > 255:
        return False
    dark, middle_from, middle_to, bright = _TRIMAP
    return shades[0] <= dark and middle_from <= shades[1] <= middle_to and shades[2] >= bright


def _surrounds(levels: Levels) -> bool:
    """Whether the mid grey of a trimap lies around the white, which touches no black."""
    dark, middle_from, middle_to, bright = _TRIMAP
    shades = levels.shades
    white, black = shades >= bright, shades < middle_from
    beside = cv2.dilate(white.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rim = beside & ~white
    return bool(rim.any() and (rim & black).sum() <= 0.25 * rim.sum())


def _trimap_mask(levels: Levels) -> Uint8:
    """Black, grey and white of a trimap as background, ignore and object."""
    scale = max(255, int(levels.greys[-1]))
    mask = np.full(levels.codes.shape, IGNORE, dtype=np.uint8)
    mask[levels.shades < scale // 4] = BACKGROUND
    mask[levels.shades > scale - scale // 4] = OBJECT
    return mask


def _read_labels(levels: Levels, everything: bool) -> MaskReading:
    """A map of classes or instances: all that is neither background nor ignored is the object."""
    if _is_noisy_gradient(levels):
        raise UnclearMaskError(_PHOTO)
    levels = _without_edges(levels)
    ground = _ground(levels)
    if not ground:
        raise UnclearMaskError(_no_ground(levels))
    void = [] if everything else _void(levels, ground)
    classes = [at for at in range(len(levels)) if at not in ground and at not in void]
    if not classes:
        raise UnclearMaskError(
            f"{_held(levels)}, which means \"ignore\": no object is left; add "
            '"mask_class": "any" if that is the object'
        )
    note = ()
    if len(classes) > 1:
        names = _listed([_name(levels, at) for at in classes])
        note = (f"holds {len(classes)} classes or instances ({names}), all of them read as the "
                "object; mask_class picks one",)  # fmt: skip
    mask = _with_void(levels, levels.where(classes), void)
    if levels.mixed is not None and len(classes) + len(void) > 1:
        mask[levels.mixed] = IGNORE  # edges between colours, which look like any class after JPEG
    return MaskReading(mask, note)


def _without_edges(levels: Levels) -> Levels:
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


def _ground(levels: Levels) -> list[int]:
    """The black levels: exactly black where there is any, else nearly so after JPEG."""
    greys = levels.greys
    black = [at for at in range(len(levels)) if greys[at] == 0]
    if not black and not levels.exact and greys[0] <= _DARK:
        return [0]
    return black


def _void(levels: Levels, ground: list[int]) -> list[int]:
    """The levels that mean "ignore": VOC's colour, index 255, and 255 or white as a rim."""
    others = [at for at in range(len(levels)) if at not in ground]
    found = [at for at in others if _is_near(levels, at, _VOC_VOID)]
    if not levels.grey and len(others) > 1:
        found += [at for at in others if levels.numbers[at] == IGNORE and at not in found]
    tops = [at for at in others if _is_top(levels, at) and at not in found]
    classes = [at for at in others if at not in found and at not in tops]
    if not tops or not classes:
        return found
    if _is_rim(levels, tops, classes) or _are_class_numbers(levels, classes):
        return found + tops
    if levels.grey and set(range(256 - _RUN, 256)) <= set(levels.greys.tolist()):
        return found
    raise UnclearMaskError(
        f"{_held(levels)}: is {_name(levels, tops[0])} a class, or \"ignore\"? Add "
        f'"mask_class": "any" (all of them are the object) or one of {_choices(levels)}'
    )


def _is_top(levels: Levels, at: int) -> bool:
    """Whether a level is white, or the largest number of 8 or 16 bits."""
    if not levels.grey:
        return _is_near(levels, at, _WHITE)
    if not levels.exact:
        return bool(levels.greys[at] >= 255 - _NEAR_GREY)
    return int(levels.greys[at]) in (255, 65535) and at == len(levels) - 1


def _is_near(levels: Levels, at: int, colour: tuple[int, int, int]) -> bool:
    difference = np.abs(levels.colours[at] - np.array(colour)).max()
    return bool(difference <= (0 if levels.exact else _NEAR_GREY))


def _are_class_numbers(levels: Levels, classes: list[int]) -> bool:
    return levels.grey and levels.exact and int(levels.greys[classes].max()) < _CLASS_NUMBERS


def _is_rim(levels: Levels, rim: list[int], classes: list[int]) -> bool:
    """Whether some levels are but a thin line around others, as wide as in VOC or a bit more."""
    width = max(_RIM, round(_RIM_SHARE * min(levels.codes.shape))) | 1
    kernel = np.ones((width, width), dtype=np.uint8)
    region = levels.where(rim).astype(np.uint8)
    thick = cv2.morphologyEx(region, cv2.MORPH_OPEN, kernel)
    beside = cv2.dilate(levels.where(classes).astype(np.uint8), kernel)
    total = int(region.sum())
    return int(thick.sum()) <= 0.05 * total and int((region & beside).sum()) >= 0.5 * total


def _with_void(levels: Levels, is_object: NDArray[np.bool_], void: list[int]) -> Uint8:
    mask = is_object.astype(np.uint8)
    if void:
        mask[levels.where(void)] = IGNORE
    return mask


# ---- mask_class


def _picked(levels: Levels, mask_class: MaskClass) -> Uint8:
    """The mask of one class; the others are background, what is ignored stays so."""
    chosen = _find(levels, mask_class)
    if not chosen:
        raise UnclearMaskError(f"{_held(levels)} and no {mask_class}; correct mask_class")
    if levels.grey and _is_two_sided(levels):
        bright = _halved(levels)
        return bright if chosen[0] >= levels.areas[-1] else 1 - bright
    try:
        void = [at for at in _void(levels, _ground(levels)) if at not in chosen]
    except UnclearMaskError:  # that it is a class is as likely, and another one is asked for
        void = []
    return _with_void(levels, levels.where(chosen), void)


def _is_two_sided(levels: Levels) -> bool:
    try:
        return len(levels) > 2 and len(levels.areas) >= 2 and _is_black_and_white(levels)
    except UnclearMaskError:
        return False


def _find(levels: Levels, mask_class: MaskClass) -> list[int]:
    """The levels that a class names: by number, or by colour."""
    if isinstance(mask_class, int):
        if not levels.grey and (levels.numbers < 0).any():
            raise UnclearMaskError(
                f"{_held(levels)}: colours, not class numbers; give mask_class as a colour"
            )
        near = np.abs(levels.numbers - mask_class) <= (0 if levels.exact else _NEAR_GREY)
        return [int(at) for at in np.flatnonzero(near)]
    colour = _rgb(mask_class)
    if colour is None:
        raise UnclearMaskError(f"mask_class {mask_class!r}: {check_mask_class(mask_class)}")
    difference = np.abs(levels.colours - np.array(colour)).max(axis=1)
    return [int(at) for at in np.flatnonzero(difference <= (0 if levels.exact else _NEAR_COLOUR))]


def _rgb(words: str) -> tuple[int, int, int] | None:
    """The colour that "#c08080" or "192,128,128" names."""
    match = _COLOUR.fullmatch(words.strip())
    if match is None:
        return None
    if match[1]:
        red, green, blue = bytes.fromhex(match[1])
        return red, green, blue
    channels = [int(match[at]) for at in (2, 3, 4)]
    return None if max(channels) > 255 else (channels[0], channels[1], channels[2])


# ---- words


def _refuse_photo(levels: Levels) -> None:
    if (not levels.exact or len(levels) > _FEW) and levels.flat < _PHOTO_FLAT:
        raise UnclearMaskError(_PHOTO)


def _is_noisy_gradient(levels: Levels) -> bool:
    """Whether the levels of a file with noise or soft edges are no areas but steps of shading."""
    return not levels.exact and (levels.flat < _LABELS_FLAT or levels.fit < _LABELS_FIT)


def _is_at_the_ends(levels: Levels) -> bool:
    scale = max(1, int(levels.shades.max()))
    at_ends = (levels.shades < 0.2 * scale) | (levels.shades > 0.8 * scale)
    return levels.grey and float(at_ends.mean()) >= _AT_THE_ENDS


def _no_ground(levels: Levels) -> str:
    what = "0 (black)" if levels.grey else "black"
    return (
        f"{_held(levels)} and no {what}, so nothing says which is the background; add "
        f'"mask_class": {_choices(levels)}, whichever is the object, or make the background black'
    )


def _held(levels: Levels) -> str:
    """What a file holds, with the share of each value: "holds 0 (81 %), 15 (17 %), 255 (2 %)"."""
    total = levels.counts.sum()
    order = sorted(np.argsort(-levels.counts, kind="stable")[:_SHOWN].tolist())
    parts = [f"{_name(levels, at)} ({levels.counts[at] / total:.0%})" for at in order]
    more = len(levels) - len(order)
    return "holds " + ", ".join(parts) + (f" and {more} more values" if more else "")


def _name(levels: Levels, at: int) -> str:
    if levels.grey:
        return str(int(levels.numbers[at]))
    red, green, blue = (int(channel) for channel in levels.colours[at])
    index = f"{int(levels.numbers[at])} = " if levels.numbers[at] >= 0 else ""
    return f"{index}#{red:02x}{green:02x}{blue:02x}"


def _choices(levels: Levels) -> str:
    """What may be typed as the class, ready for JSON."""
    common = np.argsort(-levels.counts, kind="stable").tolist()
    ground = _ground(levels)
    order = sorted([at for at in common if at not in ground][:_SHOWN])
    names = [_name(levels, at).split(" = ")[-1] for at in order]
    quoted = [name if levels.grey else f'"{name}"' for name in names]
    return ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")

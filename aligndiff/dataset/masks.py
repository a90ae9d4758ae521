"""What a mask file means: the one rule, in the order of the table in docs/FORMAT.md.

A file is read by what is in it. Where two readings are possible it is refused, with the values
that it holds and what to type; a mask class (`mask_class.py`) then says which is the object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.core.files import Source
from aligndiff.dataset.images import BACKGROUND, IGNORE, OBJECT, Uint8
from aligndiff.dataset.label_maps import (
    PhotoError,
    UnclearMaskError,
    choices,
    ground_levels,
    held,
    level_name,
    listed,
    no_ground,
    void_levels,
    with_void,
    without_edges,
)
from aligndiff.dataset.levels import Levels, Values, levels_of
from aligndiff.dataset.mask_checks import shape_notes
from aligndiff.dataset.mask_class import ALPHA, ANY, TRIMAP, MaskClass, check_mask_class, colour_of
from aligndiff.dataset.raster import Raster, read_raster

_DARKEST_DRAWING = 32  # grey: drawings are brighter, what is below are numbers
_TRIMAP = (16, 100, 156, 239)  # the darkest, from and to the middle, the brightest: of 255
_FEW = 8  # values that no photo is left with
_PHOTO_FLAT = 0.15  # share of flat pixels below which a file is a photo
_LABELS_FLAT, _LABELS_FIT = 0.4, 0.75  # the least of a noisy map of classes: flat, and of a level
_AT_THE_ENDS = 0.75  # share of pixels near black or white, from which on grey is a soft mask
_SOFT_LEVELS = 8  # more inner levels than this, all of them small, are a soft edge
_SOLID_ALPHA = 32  # spread of the transparency, of 255, that has a shape
_LOOKED_AT = 200_000  # pixels at least; enough to tell a drawing
_DRAWN_COLOURS = 8  # a drawing on transparent ground has at most as many
_NEAR_GREY, _NEAR_COLOUR = 10, 40  # how far from a class the values of a JPEG lie


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


def read_mask(path: Source, mask_class: MaskClass | None = None) -> Uint8:
    """Read a mask of any usual kind as uint8 (h, w): 0 background, 1 object, 255 ignore.

    InputError names a file that is missing, broken, no mask, or that can be read in two ways.
    """
    return interpret_mask(path, mask_class).mask


def interpret_mask(path: Source, mask_class: MaskClass | None = None) -> MaskReading:
    """Read a mask as `read_mask` does, with notes on what looks wrong."""
    reading = read_mask_reading(path, mask_class)
    notes = (*reading.notes, *shape_notes(reading.mask, chosen=mask_class is not None))
    return replace(reading, notes=notes)


def read_mask_reading(path: Source, mask_class: MaskClass | None = None) -> MaskReading:
    """Read a mask as `read_mask` does, with notes on what was decided, none on its shape."""
    raster = read_raster(path)
    try:
        return replace(mask_of(raster, mask_class), orientation=raster.orientation)
    except UnclearMaskError as error:
        raise InputError(f"{path}: {error}") from None


def mask_of(raster: Raster, mask_class: MaskClass | None = None) -> MaskReading:
    """The mask in a decoded file. UnclearMaskError where that is not one thing for certain."""
    visible = _visible(raster)
    if visible is None:
        if mask_class == ALPHA:
            raise UnclearMaskError('is not transparent anywhere, but "mask_class" is "alpha"')
        return _of_levels(levels_of(raster), mask_class)
    if mask_class == ALPHA or (mask_class is None and _shape_is_in_alpha(raster, visible)):
        return MaskReading(_alpha_mask(raster, visible))
    # Hidden pixels may have any colour; transparent is background.
    opaque = replace(raster, values=_with_black(raster, ~visible), alpha=None)
    reading = _of_levels(levels_of(opaque), mask_class)
    return replace(reading, mask=np.where(visible, reading.mask, np.uint8(BACKGROUND)))


# ---- transparency


def _visible(raster: Raster) -> NDArray[np.bool_] | None:
    """Where the file is opaque rather than not; None where its transparency has no shape."""
    if raster.alpha is None or int(np.ptp(raster.alpha)) < _SOLID_ALPHA:
        return None
    middle = (int(raster.alpha.min()) + int(raster.alpha.max())) / 2
    return np.asarray(raster.alpha > middle)


def _with_black(raster: Raster, hidden: NDArray[np.bool_]) -> Values:
    """The values, whole numbers (h, w), with black in place of what is hidden."""
    black = 0
    if raster.palette is not None:
        used = set(np.unique(raster.values[~hidden]).tolist())
        indices = [index for index in range(256) if not raster.palette[index].any()]
        black = next((index for index in indices if index not in used), [*indices, 0][0])
    return np.where(hidden, raster.values.dtype.type(black), raster.values)


def _shape_is_in_alpha(raster: Raster, visible: NDArray[np.bool_]) -> bool:
    """Whether the shape is what is opaque: of a cut-out photo, or of shapes of any colour.

    It is not where the opaque part is itself drawn in black and one other colour.
    """
    seen = raster.values[visible]
    colours = seen[:: max(1, len(seen) // _LOOKED_AT)].astype(np.int32)
    if raster.kind == "palette" and raster.palette is not None:
        wide = raster.palette.astype(np.int32)
        colours = ((wide[:, 0] << 16) | (wide[:, 1] << 8) | wide[:, 2])[colours]
    distinct, counts = np.unique(colours, return_counts=True)
    has_black = distinct[0] == 0 and counts[0] >= 0.05 * counts.sum()
    if len(distinct) == 1 or not has_black:
        return True
    if len(distinct) > 2 and counts[[0, int(counts[1:].argmax()) + 1]].sum() >= 0.9 * counts.sum():
        return False  # black and one other colour, with soft edges
    if 2 < len(distinct) <= _DRAWN_COLOURS:
        raise UnclearMaskError(
            "is transparent in parts and black in others: which is the background? Add "
            '"mask_class": "alpha" if it is what is transparent, "any" if black is, too'
        )
    return len(distinct) > 2


def _alpha_mask(raster: Raster, visible: NDArray[np.bool_]) -> Uint8:
    """What is opaque, with the middle of a trimap ignored."""
    assert raster.alpha is not None
    levels = levels_of(Raster(raster.alpha, "grey", lossy=raster.lossy))
    if _looks_like_trimap(levels) and _surrounds(levels):
        return _trimap_mask(levels)
    return visible.astype(np.uint8)


# ---- levels


def _of_levels(levels: Levels, mask_class: MaskClass | None) -> MaskReading:
    if mask_class == ALPHA:
        raise UnclearMaskError('is not transparent anywhere, but "mask_class" is "alpha"')
    if mask_class == TRIMAP:
        if not levels.grey:
            raise UnclearMaskError(f"{held(levels)}: a trimap is grey; correct mask_class")
        return MaskReading(_trimap_mask(levels))
    if mask_class is not None and mask_class != ANY:
        return MaskReading(_picked(levels, mask_class))
    _refuse_photo(levels)
    if len(levels) == 1:
        is_object = levels.greys[0] > (0 if levels.exact else _NEAR_GREY)
        return MaskReading(np.full(levels.codes.shape, OBJECT * is_object, dtype=np.uint8))
    if levels.grey:
        return _read_grey(levels, everything=mask_class == ANY)
    return _read_labels(levels, everything=mask_class == ANY)


def _read_grey(levels: Levels, everything: bool) -> MaskReading:
    greys = levels.greys
    if not levels.exact and greys[-1] < _DARKEST_DRAWING:
        raise UnclearMaskError(
            f"{held(levels)} in a format that does not keep class numbers; save it as PNG"
        )
    if _is_black_and_white(levels):
        return MaskReading(_halved(levels))
    if not everything and _looks_like_trimap(levels):
        if _surrounds(levels):
            return MaskReading(_trimap_mask(levels))
        raise UnclearMaskError(
            f'{held(levels)}: a trimap, or two classes? Add "mask_class": "trimap" (mid grey '
            f'is ignored), "any" (both are object) or one of {choices(levels)}'
        )
    return _read_labels(levels, everything)


def _is_black_and_white(levels: Levels) -> bool:
    """Whether all is dark or bright, but for soft edges. Numbers are not: 0, 1 and 2."""
    greys, areas = levels.greys, levels.areas
    if len(levels) == 2:
        low, high = int(greys[0]), int(greys[1])
        if low and high - low < _DARKEST_DRAWING:
            raise UnclearMaskError(no_ground(levels))
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
    return levels.brighter((int(low) + int(high)) / 2).astype(np.uint8)


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
    white, black = levels.brighter(bright - 1), ~levels.brighter(middle_from - 1)
    beside = cv2.dilate(white.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    rim = beside & ~white
    return bool(rim.any() and (rim & black).sum() <= 0.25 * rim.sum())


def _trimap_mask(levels: Levels) -> Uint8:
    """Black, grey and white of a trimap as background, ignore and object."""
    scale = max(255, int(levels.greys[-1]))
    mask = np.full(levels.codes.shape, IGNORE, dtype=np.uint8)
    mask[~levels.brighter(scale / 4)] = BACKGROUND
    mask[levels.brighter(scale * 3 / 4)] = OBJECT
    return mask


def _read_labels(levels: Levels, everything: bool) -> MaskReading:
    """A map of classes or instances: all that is neither background nor ignored is the object."""
    if _is_noisy_gradient(levels):
        raise PhotoError
    levels = without_edges(levels)
    ground = ground_levels(levels)
    if not ground:
        raise UnclearMaskError(no_ground(levels))
    void = [] if everything else void_levels(levels, ground)
    classes = [at for at in range(len(levels)) if at not in ground and at not in void]
    if not classes:
        raise UnclearMaskError(
            f'{held(levels)}, which means "ignore": no object is left; add '
            '"mask_class": "any" if that is the object'
        )
    notes: tuple[str, ...] = ()
    if len(classes) > 1:
        names = listed([level_name(levels, at) for at in classes])
        what = f"holds {len(classes)} classes or instances ({names})"
        notes = (f"{what}, all of them read as the object; mask_class picks one",)
    mask = with_void(levels, levels.where(classes), void)
    if levels.mixed is not None and len(classes) + len(void) > 1:
        mask[levels.mixed] = IGNORE  # edges between colours, which look like any class after JPEG
    return MaskReading(mask, notes)


# ---- mask_class


def _picked(levels: Levels, mask_class: MaskClass) -> Uint8:
    """The mask of one class; the others are background, what is ignored stays so."""
    chosen = _find(levels, mask_class)
    if not chosen:
        raise UnclearMaskError(f"{held(levels)} and no {mask_class}; correct mask_class")
    if levels.grey and _is_two_sided(levels):
        bright = _halved(levels)
        return bright if chosen[0] >= levels.areas[-1] else 1 - bright
    try:
        void = [at for at in void_levels(levels, ground_levels(levels)) if at not in chosen]
    except UnclearMaskError:  # that it is a class is as likely, and another one is asked for
        void = []
    return with_void(levels, levels.where(chosen), void)


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
                f"{held(levels)}: colours, not class numbers; give mask_class as a colour"
            )
        near = np.abs(levels.numbers - mask_class) <= (0 if levels.exact else _NEAR_GREY)
        return [int(at) for at in np.flatnonzero(near)]
    colour = colour_of(mask_class)
    if colour is None:
        raise UnclearMaskError(f"mask_class {mask_class!r}: {check_mask_class(mask_class)}")
    difference = np.abs(levels.colours - np.array(colour)).max(axis=1)
    return [int(at) for at in np.flatnonzero(difference <= (0 if levels.exact else _NEAR_COLOUR))]


def _refuse_photo(levels: Levels) -> None:
    if (not levels.exact or len(levels) > _FEW) and levels.flat < _PHOTO_FLAT:
        raise PhotoError
    if len(levels) == 1 and _is_noisy_gradient(levels):
        raise PhotoError


def _is_noisy_gradient(levels: Levels) -> bool:
    """Whether the levels of a file with noise or soft edges are no areas but steps of shading."""
    return not levels.exact and (levels.flat < _LABELS_FLAT or levels.fit < _LABELS_FIT)


def _is_at_the_ends(levels: Levels) -> bool:
    scale = int(levels.own_greys.max())
    at_ends = ~levels.brighter(0.2 * scale) | levels.brighter(0.8 * scale)
    return levels.grey and float(at_ends.mean()) >= _AT_THE_ENDS

"""Views of a background or a pair, of the sides that scenes have."""

from __future__ import annotations

import numpy as np

from aligndiff.composition.instance import Spot
from aligndiff.composition.paste import Composite
from aligndiff.composition.recipe import SceneRecipe
from aligndiff.dataset.images import OBJECT, Uint8, resize_image, resize_mask

Size = tuple[int, int]  # (h, w)


def view_of(image: Uint8, size: Size, rng: np.random.Generator, recipe: SceneRecipe) -> Uint8:
    """A random part of a background, uint8 RGB (h, w, 3), resized to `size`; maybe flipped."""
    part = float(rng.uniform(recipe.view.low, recipe.view.high))
    centre = Spot(float(rng.random()), float(rng.random()))
    view = resize_image(image[_window(image.shape, size, part, centre)], size)
    return np.ascontiguousarray(view[:, ::-1]) if rng.random() < recipe.flip else view


def whole_view(pair: Composite, size: Size) -> Composite:
    """The largest view of `size`'s form, around the object; all of it where the forms agree."""
    height, width = pair.mask.shape
    rows, columns = np.nonzero(pair.mask == OBJECT)
    middle = ((x.min() + x.max()) / 2 if x.size else 0 for x in (rows, columns))
    row, column = middle
    window = _window((height, width), size, 1.0, Spot(row / height, column / width), True)
    return Composite(resize_image(pair.image[window], size), resize_mask(pair.mask[window], size))


def _window(
    shape: tuple[int, ...], size: Size, part: float, at: Spot, around: bool = False
) -> tuple[slice, slice]:
    """`part` of the largest window of `size`'s form in an image of `shape`.

    Its place among the possible ones is `at`, from 0 to 1; or as much `around` that spot as can be.
    """
    reduced = part * min(shape[0] / size[0], shape[1] / size[1])
    slices = []
    for length, side, where in zip(shape, size, at, strict=False):
        taken = min(length, max(1, round(side * reduced)))
        spare = length - taken
        start = where * length - taken / 2 if around else where * spare
        first = min(max(round(start), 0), spare)
        slices.append(slice(first, first + taken))
    return slices[0], slices[1]

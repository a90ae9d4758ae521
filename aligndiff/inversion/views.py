"""The views of a support pair that step 1 trains on: mirrored, and with `--augment` varied further.

Image and mask are changed together. What lies beyond the photo is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import cv2
import numpy as np

from aligndiff.dataset.images import OBJECT, Uint8
from aligndiff.dataset.samples import sample_seed
from aligndiff.dataset.square_view import window
from aligndiff.dataset.support import SupportPair

FLIP = ("flip",)  # the method's
# Views of a pair, the pair itself among them, each encoded once; with flip twice as many.
VARIED = 8
ENOUGH = 256  # of all pairs: many photos vary by themselves, and their latents fill the memory
# Side of what is seen, in sides of the photo: nearer by crop, further away by scale.
NEAREST, FURTHEST = 0.6, 1.7
# Of brightness and contrast, and of saturation, at most: what another hour or camera would do.
LIGHT, SATURATION = 0.2, 0.25


def views_of(
    pair: SupportPair, augment: Collection[str] = FLIP, seed: int = 0, count: int = VARIED
) -> Iterator[tuple[SupportPair, ...]]:
    """The views of a pair, the pair itself first, as tuples of a view and its mirror image.

    Without "flip" there are no mirror images, with it alone nothing but the pair and its own, else
    `count` views. The draws depend on the pair's name and `seed`.
    """
    rng = np.random.default_rng(sample_seed(seed, f"views of {pair.name}", 0))
    varied = {"crop", "scale", "colour"} & set(augment)
    for number in range(count if varied else 1):
        view = _drawn(pair, varied, rng) if number else pair
        yield (view, flipped(view)) if "flip" in augment else (view,)


def views_of_each(pairs: int) -> int:
    """How many views each of so many pairs gets where they are varied."""
    return max(2, min(VARIED, ENOUGH // pairs))


def flipped(pair: SupportPair) -> SupportPair:
    """The pair mirrored left-right, image and mask together."""
    return SupportPair(pair.name, pair.image[:, ::-1].copy(), pair.mask[:, ::-1].copy())


def _drawn(pair: SupportPair, varied: Collection[str], rng: np.random.Generator) -> SupportPair:
    zooms = [zoom for zoom in ("crop", "scale") if zoom in varied]
    if zooms:
        zoom = zooms[rng.integers(len(zooms))]
        bounds = (NEAREST, 1.0) if zoom == "crop" else (1.0, FURTHEST)
        pair = zoomed(pair, rng.uniform(*bounds), rng)
    if "colour" in varied:
        pair = SupportPair(pair.name, _recoloured(pair.image, rng), pair.mask)
    return pair


def zoomed(pair: SupportPair, side: float, rng: np.random.Generator) -> SupportPair:
    """A window of `side` times the photo's sides at a random place; the whole object is in it.

    Below 1 it lies in the photo, and is as large as it must be for the object; above 1 the photo
    lies in it.
    """
    there = [(pair.mask == OBJECT).any(axis=axis) for axis in (1, 0)]
    extents = [np.flatnonzero(axis)[[0, -1]] + (0, 1) for axis in there]
    parts = [(last - first) / len(axis) for (first, last), axis in zip(extents, there, strict=True)]
    side = max(side, *parts)
    rows, columns = (
        _places(first, last, len(axis), round(side * len(axis)), rng)
        for (first, last), axis in zip(extents, there, strict=True)
    )
    return window(pair, rows, columns)


def _places(first: int, last: int, total: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """`length` places in a row that hold [first, last), inside of 0 to `total` or around it."""
    low, high = max(0, last - length), min(first, total - length)
    if length > total:
        low, high = total - length, 0
    start = rng.integers(low, high, endpoint=True)
    return np.arange(start, start + length)


def _recoloured(image: Uint8, rng: np.random.Generator) -> Uint8:
    """Another light and saturation of uint8 RGB (h, w, 3); hues stay: they may be the look."""
    brightness, contrast = rng.uniform(-LIGHT, LIGHT, 2)
    saturation = 1 + rng.uniform(-SATURATION, SATURATION)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    pixels = grey + (image - grey) * saturation
    pixels = (pixels - grey.mean()) * (1 + contrast) + grey.mean() * (1 + brightness)
    return np.clip(pixels, 0, 255).round().astype(np.uint8)

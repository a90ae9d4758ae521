"""The guided filter: a map takes on the edges of an image.

He, Sun, Tang: "Guided Image Filtering" (ECCV 2010), Eq. 19 to 21, and the subsampling of
"Fast Guided Filter" (2015): within every window the map is a linear function of the colours.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
WORKING_SIDE = 256  # px; the linear coefficients are smooth, so a coarser grid holds them as well


def guided_filter(
    image: NDArray[np.uint8], values: Float, radius: float, epsilon: float = 1e-3
) -> Float:
    """`values`, float32 (h, w), with the edges of `image`, uint8 (h, w, 3); as large as they are.

    `radius` of the windows is a share of the longer side, `epsilon` the variance of a colour,
    in [0, 1] squared, below which a window counts as flat. A little outside of the values' own
    range is possible.
    """
    h, w = values.shape
    scale = min(1.0, WORKING_SIDE / max(h, w))
    size = max(1, round(w * scale)), max(1, round(h * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)
    coarse = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
    reach = max(1, round(radius * max(size)))
    line = _coefficients(small / np.float32(255), coarse, reach, epsilon)
    slopes, offset = (cv2.resize(part, (w, h), interpolation=cv2.INTER_LINEAR) for part in line)
    products = cv2.multiply(slopes, image, scale=1 / 255, dtype=cv2.CV_32F)
    return np.asarray(cv2.transform(products, np.ones((1, 3))) + offset, np.float32)


def _coefficients(image: Float, values: Float, radius: int, epsilon: float) -> tuple[Float, Float]:
    """Slope (h, w, 3) and offset (h, w) of the map over the colours, averaged over all windows."""
    r, g, b = (np.ascontiguousarray(image[..., channel]) for channel in range(3))
    products = [r * r, r * g, r * b, g * g, g * b, b * b]
    of_values = [r * values, g * values, b * values]
    means = [_box(layer, radius) for layer in (r, g, b, values)]
    mr, mg, mb, mv = means
    pairs = (mr * mr, mr * mg, mr * mb, mg * mg, mg * mb, mb * mb)
    rr, rg, rb, gg, gb, bb = (
        _box(layer, radius) - mean for layer, mean in zip(products, pairs, strict=True)
    )
    rr, gg, bb = rr + epsilon, gg + epsilon, bb + epsilon
    cr, cg, cb = (
        _box(layer, radius) - mean * mv for layer, mean in zip(of_values, means, strict=False)
    )
    # The inverse of a symmetric 3 x 3 matrix by its cofactors, a pixel at a time.
    arr, arg, arb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    agg, agb, abb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = rr * arr + rg * arg + rb * arb
    slopes = [
        (arr * cr + arg * cg + arb * cb) / determinant,
        (arg * cr + agg * cg + agb * cb) / determinant,
        (arb * cr + agb * cg + abb * cb) / determinant,
    ]
    offset = mv - slopes[0] * mr - slopes[1] * mg - slopes[2] * mb
    slope = np.dstack([_box(layer, radius) for layer in slopes])
    return slope, _box(offset, radius)


def _box(layer: Float, radius: int) -> Float:
    """The mean over windows of 2 x radius + 1 px, the image mirrored at its border."""
    side = 2 * radius + 1
    mean = cv2.blur(layer, (side, side), borderType=cv2.BORDER_REFLECT)
    return np.asarray(mean, np.float32)

"""Image and mask files as arrays: the only file that knows Pillow's (width, height).

Everywhere else a size is (h, w), an image is uint8 RGB (h, w, 3), a mask or heatmap (h, w).
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from aligndiff.core.errors import InputError
from aligndiff.core.files import Source, read_input, write_bytes

Uint8 = NDArray[np.uint8]

BACKGROUND, OBJECT, IGNORE = 0, 1, 255  # values of a support mask, as in VOC
_JPEG_QUALITY = 95  # training data: artefacts must stay below the texture a segmenter learns
_JPEG_NO_SUBSAMPLING = 0  # 4:4:4, colour edges stay on the mask's edge
_PREVIEW_QUALITY = 85  # to be looked at, not trained on
_TINT = 24  # difference between channels that JPEG alone does not make
_COLOURED = 0.001  # part of the pixels that must have a colour

_FORMATS = ("JPEG", "PNG", "WEBP")  # whatever the file's name says
_MOST_PIXELS = 120_000_000  # more than nearly every camera makes; 360 MB as RGB
_MOST_BYTES = 512 * 2**20  # more than so many pixels take in any of the formats
Image.MAX_IMAGE_PIXELS = None  # Pillow's own check warns first, on lines of its own

# What Pillow raises for broken files, besides its own UnidentifiedImageError (an OSError).
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


def read_image(path: Source) -> Uint8:
    """Read any image as uint8 RGB (h, w, 3), upright (EXIF), transparency over white.

    InputError names the file when it is missing or broken.
    """
    return np.array(_to_rgb(_upright(path)))


def check_image(path: Source) -> tuple[int, int]:
    """Decode the file as `read_image` does and return its upright (h, w)."""
    width, height = _upright(path).size
    return height, width


def read_mask(path: Source) -> Uint8:
    """Read a mask of any usual kind as uint8 (h, w): 0 background, 1 object, 255 ignore.

    Palette (VOC): index 0 is background, 255 is ignore, the rest is object. All else: one grey
    channel, object where it is above half of the file's own maximum, which reads 0/1 and 0/255
    alike and cuts soft edges in the middle. InputError as for `read_image`.
    """
    upright = _upright(path)
    if upright.mode == "P":
        return _from_palette(upright)
    grey, visible = _grey_and_visible(upright)
    if set(np.unique(grey)) == {BACKGROUND, OBJECT, IGNORE}:
        # VOC labels saved as grey; no drawing from 0 to 255 holds just these three values.
        return np.asarray(grey, dtype=np.uint8)
    mask = grey > grey.max() / 2
    return np.asarray(mask & visible, dtype=np.uint8)


def has_colour(path: Source) -> bool:
    """Whether the file shows colours; JPEG's slight tints in a grey picture do not count."""
    upright = _upright(path)
    if upright.mode in ("1", "L", "LA", "I", "F") or upright.mode.startswith("I;"):
        return False
    image = np.asarray(_to_rgb(upright)).astype(np.int16)
    spread = image.max(axis=2) - image.min(axis=2)
    return bool(np.mean(spread > _TINT) > _COLOURED)


def count_colours(path: Source) -> int:
    """How many different colours the file holds: few for a mask, thousands for a photo."""
    image = read_image(path).astype(np.uint32)
    packed = (image[..., 0] << 16) | (image[..., 1] << 8) | image[..., 2]
    return int(np.unique(packed).size)


def read_labels(path: Source) -> Uint8:
    """Read a map of class numbers, uint8 (h, w): palette indices or grey levels as they are.

    InputError as for `read_image`, and for a file of another kind: its colours name no classes.
    """
    upright = _upright(path)
    if upright.mode not in ("P", "L"):
        what = f"{upright.mode} colours, not 8-bit class numbers"
        raise InputError(f"{path}: holds {what}; save it as a palette or grey PNG")
    return np.array(upright)


def read_grey(path: Source) -> Uint8:
    """Read a heatmap or written mask as uint8 (h, w)."""
    return np.array(_upright(path).convert("L"))


def write_image(path: str | Path, image: Uint8) -> None:
    """Write uint8 RGB (h, w, 3) whole, as the suffix says: jpg (quality 95, 4:4:4) or png."""
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image has shape {image.shape}, not (h, w, 3)")
    write_bytes(path, encode(image, Path(path).suffix))


def write_grey(path: str | Path, grey: Uint8) -> None:
    """Write uint8 (h, w) whole, as the suffix says; png keeps every value."""
    if grey.ndim != 2:
        raise ValueError(f"grey image has shape {grey.shape}, not (h, w)")
    write_bytes(path, encode(grey, Path(path).suffix))


def write_mask(path: str | Path, mask: NDArray[np.bool_]) -> None:
    """Write a hard mask, bool (h, w), as 8-bit png with 0 and 255."""
    if mask.dtype != np.bool_:
        raise ValueError(f"mask is {mask.dtype}, not bool")
    write_grey(path, mask.astype(np.uint8) * np.uint8(255))


def write_preview(path: str | Path, image: Uint8) -> None:
    """Write uint8 RGB (h, w, 3) whole as a jpg that is only looked at, a third of the size."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_PREVIEW_QUALITY)
    write_bytes(path, buffer.getvalue())


def write_layer(path: str | Path, indices: Uint8, palette: Uint8) -> None:
    """Write a png to be laid over an image.

    indices: uint8 (h, w), rows of the palette; palette: uint8 RGBA (n, 4).
    """
    layer = Image.fromarray(indices, "L")
    layer.putpalette(palette[:, :3].tobytes())  # makes it a palette image
    buffer = io.BytesIO()
    layer.save(buffer, "PNG", transparency=palette[:, 3].tobytes())
    write_bytes(path, buffer.getvalue())


def encode(array: Uint8, suffix: str) -> bytes:
    """The file of uint8 RGB (h, w, 3) or grey (h, w): ".jpg" (quality 95, 4:4:4) or ".png"."""
    if array.dtype != np.uint8:
        raise ValueError(f"array is {array.dtype}, not uint8")
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(array))
    if suffix.lower() in (".jpg", ".jpeg"):
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=_JPEG_NO_SUBSAMPLING)
    elif suffix.lower() == ".png":
        image.save(buffer, "PNG")
    else:
        raise ValueError(f"{suffix or 'no suffix'}: images are written as .jpg or .png")
    return buffer.getvalue()


def encode_palette(indices: Uint8, palette: Uint8) -> bytes:
    """A palette png of uint8 (h, w), whose values are rows of `palette`, uint8 RGB (256, 3)."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(indices))
    image.putpalette(palette.tobytes())
    image.save(buffer, "PNG")
    return buffer.getvalue()


def resize_image(image: Uint8, size: tuple[int, int]) -> Uint8:
    """Resize uint8 RGB (h, w, 3) to `size` (h, w): Pillow's bicubic, smooth also when reducing."""
    height, width = size
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def resize_mask(mask: Uint8, size: tuple[int, int]) -> Uint8:
    """Resize uint8 (h, w) to `size` (h, w) by nearest neighbour: no value is made up."""
    height, width = size
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _upright(path: Source) -> Image.Image:
    """The picture of an image file, decoded whole so that a cut-off file shows here."""
    data = io.BytesIO(read_input(path, _MOST_BYTES))
    try:
        image = Image.open(data, formats=_FORMATS)
        _check_header(path, image)
        image.load()
        return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        problem = f"{path}: not a readable image (JPEG, PNG or WebP); replace or remove the file"
        raise InputError(problem) from None
    except _BROKEN:
        raise InputError(f"{path}: not a readable image; replace or remove the file") from None


def _check_header(path: Source, image: Image.Image) -> None:
    """Refuse, before it is decoded, what would fill the memory or is no still picture."""
    if image.width * image.height > _MOST_PIXELS:
        most = f"at most {_MOST_PIXELS // 10**6} million pixels are read"
        raise InputError(f"{path}: is {image.width} x {image.height} px, {most}; make it smaller")
    # A phone's JPEG may hold a preview beside the photo (MPO); that is no animation.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise InputError(f"{path}: is an animation; save one picture of it, or remove the file")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _to_8_bit(deep: NDArray[np.generic]) -> Uint8:
    """16-bit values to 8 bits; values that fit in 8 bits already stay as they are."""
    values = np.clip(np.asarray(deep, dtype=np.float64), 0, 65535)
    if values.max(initial=0) > 255:
        values = values / 257
    return np.round(values).astype(np.uint8)


def _from_palette(image: Image.Image) -> Uint8:
    indices = np.asarray(image)
    if _is_inverted_black_and_white(image, indices):
        indices = (indices == 0).astype(np.uint8)
    mask = np.where(indices > 0, OBJECT, BACKGROUND)
    return np.where(indices == IGNORE, IGNORE, mask).astype(np.uint8)


def _is_inverted_black_and_white(image: Image.Image, indices: Uint8) -> bool:
    """Whether index 0 is white and the only other one black: what PNG optimisers make of a mask."""
    used = [int(index) for index in np.unique(indices)]
    if len(used) != 2 or used[0] != 0:
        return False
    palette = image.getpalette("RGB") or []
    colours = [palette[3 * index : 3 * index + 3] for index in used]
    return colours == [[255, 255, 255], [0, 0, 0]]


def _grey_and_visible(image: Image.Image) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """One grey channel (h, w) of any mode but palette, and where it is not transparent (bool)."""
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;"):
        grey = np.asarray(image)
        if not image.has_transparency_data:
            return grey, np.ones(grey.shape, dtype=bool)
    if not image.has_transparency_data:
        grey = np.asarray(image.convert("RGB")).max(axis=2)
        return grey, np.ones(grey.shape, dtype=bool)
    channels = np.asarray(image.convert("RGBA"))
    grey, alpha = channels[..., :3].max(axis=2), channels[..., 3]
    visible = alpha > 127
    # A cut-out: one colour throughout, and the shape is in the transparency alone.
    if grey[alpha > 0].size == 0 or (alpha.min() < 128 <= alpha.max() and np.ptp(grey) == 0):
        return alpha, np.ones(alpha.shape, dtype=bool)
    return grey, visible

"""Image and mask files as arrays: the only file that knows Pillow's (width, height).

Everywhere else a size is (h, w), an image is uint8 RGB (h, w, 3), a mask or heatmap (h, w).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.core.files import Source, write_bytes
from aligndiff.dataset.colour_profile import to_srgb
from aligndiff.dataset.raster import open_picture

Uint8 = NDArray[np.uint8]

BACKGROUND, OBJECT, IGNORE = 0, 1, 255  # values of a support mask, as in VOC
IGNORE_GREY = 127  # how a written mask of a sample shows what is ignored
_JPEG_QUALITY = 95  # training data: artefacts must stay below the texture a segmenter learns
_JPEG_NO_SUBSAMPLING = 0  # 4:4:4, colour edges stay on the mask's edge
_PREVIEW_QUALITY = 85  # to be looked at, not trained on


@dataclass(frozen=True)
class Photo:
    """A photo as it was read.

    Attributes:
        image: uint8 RGB (h, w, 3), upright, in sRGB.
        orientation: EXIF orientation of the file, 1 to 8; 1 is upright as stored.
        notes: what is odd about the file, each a few words without its name.
    """

    image: Uint8
    orientation: int = 1
    notes: tuple[str, ...] = ()


def read_photo(path: Source) -> Photo:
    """Read a user's photo as `read_image` does; a JPEG that lacks a little of its end, too."""
    picture = open_picture(path, may_be_cut=True)
    return Photo(np.array(_to_rgb(picture.image)), picture.orientation, picture.notes)


def read_image(path: Source, side: int | None = None) -> Uint8:
    """Read any image as uint8 RGB (h, w, 3), upright (EXIF), in sRGB, transparency over white.

    `side`: a JPEG may be read in a reduced size that has at least so many pixels on each side,
    which is faster. InputError names the file when it is missing or broken.
    """
    return np.array(_to_rgb(open_picture(path, side=side).image))


def check_image(path: Source) -> tuple[int, int]:
    """Decode the file as `read_image` does and return its upright (h, w)."""
    width, height = open_picture(path).image.size
    return height, width


def read_labels(path: Source) -> Uint8:
    """Read a map of class numbers, uint8 (h, w): palette indices or grey levels as they are.

    InputError as for `read_image`, and for a file of another kind: its colours name no classes.
    """
    upright = open_picture(path).image
    if upright.mode not in ("P", "L"):
        what = f"{upright.mode} colours, not 8-bit class numbers"
        raise InputError(f"{path}: holds {what}; save it as a palette or grey PNG")
    return np.array(upright)


def read_grey(path: Source) -> Uint8:
    """Read a heatmap or written mask as uint8 (h, w)."""
    return np.array(open_picture(path).image.convert("L"))


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


def write_labels(path: str | Path, labels: Uint8) -> None:
    """Write a mask, uint8 (h, w) of 0, 1 and 255 (ignore), as grey png: 0, 255 and IGNORE_GREY.

    A reader that takes what is light for the object takes what is ignored for background.
    """
    levels = np.select([labels == OBJECT, labels == IGNORE], [255, IGNORE_GREY], 0)
    write_grey(path, levels.astype(np.uint8))


def write_preview(path: str | Path, image: Uint8) -> None:
    """Write uint8 RGB (h, w, 3) whole as a jpg that is only looked at, a third of the size."""
    write_bytes(path, encode_preview(image))


def encode_preview(image: Uint8) -> bytes:
    """The jpg of uint8 RGB (h, w, 3) that is only looked at."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_PREVIEW_QUALITY)
    return buffer.getvalue()


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


def resize_cut_out(image: Uint8, size: tuple[int, int]) -> Uint8:
    """Resize uint8 RGBA (h, w, 4) to `size` (h, w): what is transparent lends no colour."""
    height, width = size
    # Pillow multiplies colours by their opacity before it resizes.
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _to_rgb(image: Image.Image) -> Image.Image:
    image = to_srgb(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = Image.fromarray(_to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bit(deep: NDArray[np.generic]) -> Uint8:
    """Values of 10, 12, 14 or 16 bits to 8, by the depth that holds them; 8 bits stay as they are.

    A camera of 12 bits writes its values into files of 16, where they would be all but black.
    """
    values = np.clip(np.asarray(deep, dtype=np.float64), 0, 65535)
    depth = next(bits for bits in (8, 10, 12, 14, 16) if values.max(initial=0) < 2**bits)
    return np.round(values * (255 / (2**depth - 1))).astype(np.uint8)

"""DecodedFile files as they are stored, decoded but not yet interpreted as a photo or a mask.

Whatever Pillow reads of pictures, of any file name: HEIC too, with the extra `heic`.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from aligndiff.core.errors import InputError
from aligndiff.core.files import Source, read_input

# DecodedFile formats of photos and masks. Not among them: EPS, which a program of its own runs, and
# formats without a signature, which any file could be.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
KINDS = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP, GIF, JPEG 2000 or PNM"
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JPEG2000")  # may change values
_MOST_PIXELS = 120_000_000  # more than nearly every camera makes; 360 MB as RGB
_MOST_BYTES = 512 * 2**20  # more than so many pixels take in any of the formats
_MOST_CUT = 1 / 8  # share of a JPEG's rows that may be missing at its end
_JPEG_END = b"\xff\xd9"
_FILL = 128  # grey of the missing part
_ORIENTATION = 0x0112  # EXIF tag
Image.MAX_IMAGE_PIXELS = None  # Pillow's own check warns first, on lines of its own

# What Pillow raises for broken files, besides its own UnidentifiedImageError (an OSError).
# What Pillow and its decoders raise for broken bytes; RuntimeError is libavif's.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, RuntimeError),
    struct.error,
)


@dataclass(frozen=True)
class DecodedFile:
    """A decoded file, upright.

    Attributes:
        image: Pillow's image, turned by its EXIF orientation, in the mode of the file.
        lossy: whether the format may have changed values slightly.
        orientation: EXIF orientation of the file, 1 to 8; 1 is upright as stored.
        notes: what is odd about the file, in words: cut off, several frames.
    """

    image: Image.Image
    lossy: bool = False
    orientation: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Raster:
    """The values of a file as arrays.

    Attributes:
        values: (h, w), uint8 or int32: grey levels (of 8 or 16 bits), palette indices, or RGB
            packed into 24 bits, as `kind` says.
        kind: "grey", "palette" or "colour".
        alpha: uint8 (h, w), 255 opaque; None where the file is opaque throughout.
        palette: uint8 (n, 3), RGB of each index; None unless `kind` is "palette".
        lossy: whether the format may have changed values slightly.
        orientation: EXIF orientation of the file, 1 to 8.
    """

    values: NDArray[np.integer[Any]]
    kind: str
    alpha: NDArray[np.uint8] | None = None
    palette: NDArray[np.uint8] | None = None
    lossy: bool = False
    orientation: int = 1


def open_picture(path: Source, *, may_be_cut: bool = False, side: int | None = None) -> DecodedFile:
    """Decode a file. InputError names it when it is missing, broken, too large or of no kind.

    Of several frames the first is taken. `may_be_cut`: a JPEG that lacks its last bytes is read,
    with a note; otherwise it is refused. `side`: a JPEG may be decoded in a reduced size that has
    at least so many pixels on each side, which is faster.
    """
    data = read_input(path, _MOST_BYTES)
    try:
        return _decode(path, data, may_be_cut, side)
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: not a readable image ({KINDS}); replace or remove the file"
        ) from None
    except _BROKEN as error:
        if _is_cut(error):
            raise InputError(f"{path}: is cut off, its end is missing; copy it again") from None
        raise InputError(f"{path}: not a readable image; replace or remove the file") from None


def picture_size(path: Source) -> tuple[int, int]:
    """Upright (h, w) of a file, from its header alone. InputError as for `open_picture`."""
    data = read_input(path, _MOST_BYTES)
    try:
        image = _opened(path, data)
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except _BROKEN:
        raise InputError(f"{path}: not a readable image; replace or remove the file") from None
    return (image.width, image.height) if turned else (image.height, image.width)


def read_raster(path: Source) -> Raster:
    """The values of a file as stored, upright: for masks. InputError as for `open_picture`."""
    return raster_of(open_picture(path))


def raster_of(picture: DecodedFile) -> Raster:
    """The arrays of a decoded picture; nothing is converted that has a meaning of its own."""
    image = picture.image
    values, kind, palette = _values(image)
    alpha = np.asarray(image.convert("RGBA"))[..., 3] if image.has_transparency_data else None
    if alpha is not None and alpha.min(initial=255) == 255:
        alpha = None
    return Raster(values, kind, alpha, palette, picture.lossy, picture.orientation)


def _values(image: Image.Image) -> tuple[NDArray[np.integer[Any]], str, NDArray[np.uint8] | None]:
    """Values, kind and palette of a `Raster`."""
    if image.mode in ("P", "PA"):
        indices = np.asarray(image) if image.mode == "P" else np.asarray(image)[..., 0]
        palette = np.zeros((256, 3), dtype=np.uint8)
        given = np.array(image.getpalette("RGB") or [], dtype=np.uint8)[: 256 * 3].reshape(-1, 3)
        palette[: len(given)] = given
        return indices, "palette", palette
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("LA", "La"):
        image = image.convert("LA").getchannel("L")
    if image.mode in ("L", "I", "F") or image.mode.startswith("I;"):
        return _grey_levels(np.asarray(image)), "grey", None
    return pack_colours(np.asarray(image.convert("RGB"))), "colour", None


def pack_colours(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """RGB uint8 (..., 3) as one number each, int32 (...): 0xrrggbb."""
    wide = rgb.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def unpack_colours(packed: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The RGB colours uint8 (..., 3) of packed ones, int32 (...)."""
    return np.stack([packed >> 16, (packed >> 8) & 255, packed & 255], axis=-1).astype(np.uint8)


def _decode(path: Source, data: bytes, may_be_cut: bool, side: int | None) -> DecodedFile:
    image = _opened(path, data)
    if side is not None:
        image.draft(None, (side, side))  # None: the mode stays
    notes: list[str] = []
    lossy, orientation = image.format in _LOSSY, image.getexif().get(_ORIENTATION, 1)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in ("MPO", "HEIF"):  # a phone's preview beside the photo
        notes.append(f"has {frames} frames or pages, of which the first is read")
    try:
        image.load()
    except OSError as error:
        if not (may_be_cut and image.format in ("JPEG", "MPO") and _is_cut(error)):
            raise
        image, missing = _load_cut(path, data)
        if missing > _MOST_CUT:
            raise
        lost = f"the last {missing:.1%} of its rows are missing; " if missing else ""
        notes.append(f"is cut off at its end; {lost}copy it again if you can")
    # Pillow would copy the image even where there is nothing to turn.
    upright = ImageOps.exif_transpose(image) if orientation != 1 else image
    known = orientation if orientation in range(1, 9) else 1
    return DecodedFile(upright, lossy, known, tuple(notes))


def _opened(path: Source, data: bytes) -> Image.Image:
    """The file with its header read and checked: nothing that would fill the memory."""
    formats = (*FORMATS, "HEIF") if _is_heif(data) and _can_read_heif(path) else FORMATS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        image = Image.open(io.BytesIO(data), formats=formats)
    if image.width * image.height > _MOST_PIXELS:
        most = f"at most {_MOST_PIXELS // 10**6} million pixels are read"
        raise InputError(f"{path}: is {image.width} x {image.height} px, {most}; make it smaller")
    return image


def _is_heif(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4]), 64)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    return b"avif" not in brands and any(brand in _HEIF_BRANDS for brand in brands)


def _can_read_heif(path: Source) -> bool:
    """Whether the extra is there. InputError says how to get it."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise InputError(
            f"{path}: is a HEIC photo, which needs the package pillow-heif: pip install "
            "pillow-heif, or save the photo as JPEG"
        ) from None
    register_heif_opener()
    return True


def _is_cut(error: BaseException) -> bool:
    text = str(error).lower()
    return "truncated" in text or "broken data stream" in text


def _load_cut(path: Source, data: bytes) -> tuple[Image.Image, float]:
    """A JPEG without its end, and the share of its rows that are missing.

    libjpeg fills what is missing with mid grey: rows of that alone, from the bottom up, count.
    """
    image = _opened(path, data + _JPEG_END)
    _load_whatever_is_there(image)
    rows = np.asarray(image.convert("RGB")).astype(np.int16)
    there: NDArray[np.bool_] = np.asarray(np.abs(rows - _FILL).max(axis=(1, 2)) > 2)
    missing = int(np.argmax(there[::-1])) if there.any() else len(there)
    return image, missing / len(there)


def _load_whatever_is_there(image: Image.Image) -> None:
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        image.load()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _grey_levels(stored: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Grey of any depth as whole numbers of 8 or 16 bits; fractions from 0 to 1 become 0 to 255."""
    if stored.dtype == np.uint8:
        return stored
    if stored.dtype.kind == "f":
        stored = np.nan_to_num(stored)
        if stored.size and stored.max() <= 1 and (stored != np.round(stored)).any():
            stored = stored * 255
        stored = np.round(stored)
    levels = np.clip(stored, 0, 65535).astype(np.int32)
    # 8 bits written as 16: the same value in both bytes.
    if levels.size and levels.max() > 255 and not (levels % 257).any():
        levels //= 257
    return levels

"""Files of every format, cut off, turned, in other colours: as a person would see them."""

from __future__ import annotations

import builtins
import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import read_image, read_photo
from aligndiff.dataset.raster import picture_size

SMOOTH = cv2.GaussianBlur(
    np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8), (0, 0), 4
)
PHOTO = cv2.normalize(SMOOTH, np.empty_like(SMOOTH), 0, 255, cv2.NORM_MINMAX)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("1.avif", "AVIF"),
        ("1.tif", "TIFF"),
        ("1.bmp", "BMP"),
        ("1.jfif", "JPEG"),
        ("1.gif", "GIF"),
        ("1.jp2", "JPEG2000"),
        ("1.ppm", "PPM"),
        ("1.jpg", "TIFF"),  # whatever the file's name says
    ],
)
def test_photos_of_every_format(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(Image.fromarray(PHOTO), kind))
    read = read_image(tmp_path / name)
    assert read.shape == PHOTO.shape and picture_size(tmp_path / name) == (96, 128)
    assert np.abs(read.astype(int) - PHOTO).mean() < 8


def test_of_several_frames_the_first_is_read(tmp_path: Path) -> None:
    first, second = Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        data = encoded(first, kind, save_all=True, append_images=[second])
        (tmp_path / "1").write_bytes(data)
        photo = read_photo(tmp_path / "1")
        assert np.abs(photo.image.astype(int) - PHOTO).mean() < 12
        assert photo.notes == ("has 2 frames or pages, of which the first is read",)


def test_heic(tmp_path: Path) -> None:
    """A phone's photo, also under the name that some programs give it."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    for name in ("1.heic", "1.jpg"):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(PHOTO), "HEIF", quality=90))
        assert np.abs(read_image(tmp_path / name).astype(int) - PHOTO).mean() < 8


def test_heic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def missing(name: str, *others: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return usual(name, *others)

    (tmp_path / "1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError) as error:
        read_image(tmp_path / "1.heic")
    what = "is a HEIC photo, which needs the package pillow-heif: pip install pillow-heif"
    assert error.value.problems == (f"{tmp_path}/1.heic: {what}, or save the photo as JPEG",)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [2, 60])
def test_a_jpeg_that_lacks_its_last_bytes(cut: int, progressive: bool, tmp_path: Path) -> None:
    data = encoded(Image.fromarray(PHOTO), "JPEG", quality=95, progressive=progressive)
    (tmp_path / "1.jpg").write_bytes(data[:-cut])
    photo = read_photo(tmp_path / "1.jpg")
    assert np.abs(photo.image[:80].astype(int) - PHOTO[:80]).mean() < 4
    assert len(photo.notes) == 1 and photo.notes[0].startswith("is cut off at its end; ")
    with pytest.raises(InputError, match="is cut off, its end is missing; copy it again"):
        read_image(tmp_path / "1.jpg")  # one of our own making: it is to be made again


def test_half_a_jpeg_is_refused(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(PHOTO), "JPEG", quality=95)
    (tmp_path / "1.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="is cut off, its end is missing; copy it again"):
        read_photo(tmp_path / "1.jpg")


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_depths_of_more_than_8_bits(depth: int, tmp_path: Path) -> None:
    """12 bits in a file of 16 are not all but black."""
    ramp = np.linspace(0, 2**depth - 1, 256).round().astype(np.uint16)
    Image.fromarray(np.tile(ramp, (8, 1))).save(tmp_path / "1.png")
    assert np.abs(read_image(tmp_path / "1.png")[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def display_p3() -> bytes:
    """An ICC profile of Display P3: its primaries, and the curve of sRGB."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(*values)

    text = "Display P3".encode("utf-16-be")
    named = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text
    curve = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {
        b"desc": named,
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": xyz(0.51512, 0.2412, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.1571, 0.06657, 0.78407),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    length = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", length, b"\0\0\0\0", 0x04000000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249) + bytes(48)
    return header + table + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_profiles_are_converted_to_srgb(kind: str, tmp_path: Path) -> None:
    """Photos of phones look dull when their profile is ignored."""
    image = Image.new("RGB", (32, 32), (200, 60, 60))
    image.save(tmp_path / "1", kind, icc_profile=display_p3(), quality=100)
    assert np.abs(read_image(tmp_path / "1")[16, 16].astype(int) - (217, 42, 52)).max() <= 2
    image.putalpha(255)
    image.save(tmp_path / "1.png", icc_profile=display_p3())
    assert np.abs(read_image(tmp_path / "1.png")[16, 16].astype(int) - (217, 42, 52)).max() <= 2


@pytest.mark.parametrize("profile", [b"", b"no profile", display_p3()[:200]])
def test_a_broken_profile_is_ignored(profile: bytes, tmp_path: Path) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "1.png", icc_profile=profile)
    assert np.array_equal(read_image(tmp_path / "1.png"), PHOTO)


def test_photos_in_srgb_stay_as_they_are(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(PHOTO).save(tmp_path / "1.png", icc_profile=profile)
    assert np.array_equal(read_image(tmp_path / "1.png"), PHOTO)

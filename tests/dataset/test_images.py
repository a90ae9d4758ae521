from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import (
    Uint8,
    check_image,
    read_grey,
    read_image,
    resize_image,
    resize_mask,
    write_grey,
    write_image,
    write_mask,
)
from aligndiff.dataset.masks import read_mask
from aligndiff.dataset.raster import KINDS
from aligndiff.render.canvas import text_coverage

SHAPE = np.array([[0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], dtype=np.uint8)
PHOTO = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_exif_orientation(orientation: int, suffix: str, tmp_path: Path) -> None:
    """What is stored turned is read upright, image and mask alike."""
    height, width = 16, 24
    upright = np.zeros((height, width, 3), dtype=np.uint8)
    upright[:8, :8] = 255  # one corner, so that every turn and flip shows
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif, "quality": 100}
    path = save(Image.fromarray(np.ascontiguousarray(stored)), tmp_path / f"1.{suffix}", **options)
    assert check_image(path) == (height, width)
    assert np.abs(read_image(path).astype(int) - upright).max() < 8
    assert np.array_equal(read_mask(path), upright[..., 0] // 255)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16"])
def test_images_of_every_mode(mode: str, tmp_path: Path) -> None:
    grey = (SHAPE * 200).astype(np.uint8)
    image = Image.fromarray(grey).convert("1", dither=Image.Dither.NONE)
    expected = SHAPE * np.uint8(255)
    if mode == "I;16":
        image, expected = Image.fromarray(grey.astype(np.uint16) * 257), grey
    elif mode != "1":
        image, expected = Image.fromarray(grey).convert(mode), grey
    cmyk = mode == "CMYK"  # a JPEG only, and so not exact
    path = save(
        image, tmp_path / ("a.jpg" if cmyk else "a.png"), **({"quality": 100} if cmyk else {})
    )
    read = read_image(path)
    assert (read.shape, read.dtype) == ((3, 5, 3), np.uint8)
    assert np.abs(read.astype(int) - np.dstack([expected] * 3)).max() <= (4 if cmyk else 0)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    image = np.dstack([PHOTO, SHAPE * np.uint8(255)])
    read = read_image(save(Image.fromarray(image), tmp_path / "a.png"))
    assert np.array_equal(read, np.where(SHAPE[..., None] == 1, PHOTO, 255))


def broken_files() -> dict[str, bytes]:
    buffer = io.BytesIO()
    Image.fromarray(np.tile(PHOTO, (40, 40, 1))).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    buffer = io.BytesIO()
    Image.fromarray(np.tile(PHOTO, (40, 40, 1))).save(buffer, "PNG")
    png = buffer.getvalue()
    return {
        "empty": b"",
        "text": b"not an image",
        "cut JPEG": jpeg[: len(jpeg) // 2],
        "cut PNG": png[: len(png) // 2],
        "spoilt PNG": png[:40] + b"\0" * 40 + png[80:],
    }


@pytest.mark.parametrize("kind", list(broken_files()))
@pytest.mark.parametrize("read", [read_image, read_mask, read_grey, check_image])
def test_broken_files_are_named(read: object, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(broken_files()[kind])
    with pytest.raises(InputError) as error:
        read(path)  # type: ignore[operator]
    problem = f"not a readable image ({KINDS}); replace or remove the file"
    if kind.startswith("cut"):
        problem = "is cut off, its end is missing; copy it again"
    assert error.value.problems == (f"{path}: {problem}",)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.jpg: no such file"):
        read_image(tmp_path / "1.jpg")


def test_png_keeps_every_value(tmp_path: Path) -> None:
    write_image(tmp_path / "new" / "a.png", PHOTO)
    assert np.array_equal(read_image(tmp_path / "new" / "a.png"), PHOTO)
    heat = PHOTO[..., 0]
    write_grey(tmp_path / "heat.png", heat)
    assert np.array_equal(read_grey(tmp_path / "heat.png"), heat)
    write_mask(tmp_path / "mask.png", SHAPE.astype(bool))
    assert np.array_equal(read_grey(tmp_path / "mask.png"), SHAPE * 255)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heat.png", "mask.png", "new"]


def test_jpg_is_of_training_quality(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", PHOTO)
    with Image.open(tmp_path / "a.jpg") as file:
        assert [layer[1:3] for layer in file.layer] == [(1, 1)] * 3  # 4:4:4
        # the first step of the luminance table is 16 at quality 50, and 2 at 95
        assert file.quantization[0][0] == 2


@pytest.mark.parametrize(
    ("write", "array", "name", "complaint"),
    [
        (write_image, PHOTO[..., 0], "a.png", r"shape \(3, 5\), not \(h, w, 3\)"),
        (write_image, PHOTO.astype(float), "a.png", "float64, not uint8"),
        (write_image, PHOTO, "a.gif", r"\.gif: images are written as \.jpg or \.png"),
        (write_grey, PHOTO, "a.png", r"shape \(3, 5, 3\), not \(h, w\)"),
        (write_mask, SHAPE, "a.png", "uint8, not bool"),
    ],
)
def test_wrong_arrays_are_our_own_mistake(
    write: object, array: Uint8, name: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=complaint):
        write(tmp_path / name, array)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_sizes_are_height_and_width() -> None:
    assert resize_image(PHOTO, (6, 20)).shape == (6, 20, 3)
    assert np.array_equal(resize_mask(SHAPE, (6, 10)), SHAPE.repeat(2, axis=0).repeat(2, axis=1))
    labels = np.array([[0, 255], [1, 255]], dtype=np.uint8)
    assert set(np.unique(resize_mask(labels, (7, 5)))) == {0, 1, 255}


def test_text_is_drawn() -> None:
    short, long = text_coverage("fish", 16), text_coverage("a photo of a fish", 16)
    assert short.shape[0] == long.shape[0]
    assert short.shape[1] < long.shape[1]
    assert short.max() > 200
    assert text_coverage("", 16).max() == 0

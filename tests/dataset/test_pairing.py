"""Which of two files is the mask, whatever their formats."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.pairing import which_is_mask
from aligndiff.dataset.support import inspect_support, load_support

ROOT = Path(__file__).resolve().parents[2]
CAT = np.array(Image.open(ROOT / "example_dataset" / "photos" / "cat" / "1.jpg").convert("RGB"))
GREY = cv2.cvtColor(CAT, cv2.COLOR_RGB2GRAY)
SHAPE = np.zeros(GREY.shape, dtype=np.uint8)
cv2.ellipse(SHAPE, (220, 150), (110, 80), 20, 0, 360, 255, -1)
CUT_OUT = np.dstack([CAT, SHAPE])
XRAY = np.where(SHAPE > 0, GREY, 0).astype(np.uint8)  # a photo that is black around
LABELS = np.where(SHAPE > 0, 1 + (np.arange(SHAPE.shape[1]) > 220), 0).astype(np.uint8)
PAIRS = {
    "the usual": (("1.jpg", CAT), ("1.png", SHAPE)),
    "mask as JPEG": (("1.png", CAT), ("1.jpg", SHAPE)),
    "grey photo, mask as JPEG": (("1.png", GREY), ("1.jpg", SHAPE)),
    "grey photo, both PNG": (("1.PNG", GREY), ("1.png", SHAPE)),
    "thermal photo, mask as JPEG": (("1.tif", XRAY), ("1.jpg", SHAPE)),
    "thermal photo, label map": (("1.bmp", XRAY), ("1.png", LABELS)),
    "cut-out of the photo": (("1.jpg", CAT), ("1.png", CUT_OUT)),
    "cut-out beside a PNG": (("1.PNG", CAT), ("1.png", CUT_OUT)),
    "transparent photo, mask": (("1.png", CUT_OUT), ("1.jpg", SHAPE)),
    "mask in colours as WebP": (("1.png", CAT), ("1.webp", np.dstack([SHAPE, SHAPE // 3, SHAPE]))),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_the_mask_is_told_by_its_content(kind: str, tmp_path: Path) -> None:
    (photo, _), (mask, _) = PAIRS[kind]
    for name, array in PAIRS[kind]:
        Image.fromarray(array).save(tmp_path / name, quality=90)
    assert which_is_mask(tmp_path / photo, tmp_path / mask).name == mask
    assert which_is_mask(tmp_path / mask, tmp_path / photo).name == mask
    (pair,) = load_support(tmp_path)
    assert ((pair.mask == 1) != (SHAPE > 0)).mean() < 0.01


@pytest.mark.parametrize("second", [GREY, 255 - CAT, np.fliplr(CAT)])
def test_two_photos(second: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(CAT).save(tmp_path / "1.jpg")
    Image.fromarray(np.ascontiguousarray(second)).save(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"cannot tell which of 1\.jpg and 1\.png is the mask"):
        which_is_mask(tmp_path / "1.jpg", tmp_path / "1.png")


@pytest.mark.parametrize("orientation", [2, 3, 4])
@pytest.mark.parametrize("square", [False, True])
def test_a_photo_turned_by_exif_whose_mask_is_not(
    orientation: int, square: bool, tmp_path: Path
) -> None:
    """The mask fits in size, but was drawn on the photo as it is stored."""
    photo = np.full((80, 80 if square else 120, 3), 60, dtype=np.uint8)
    mask = np.zeros(photo.shape[:2], dtype=np.uint8)
    photo[10:30, 20:50], mask[10:30, 20:50] = (220, 180, 40), 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 9, photo.shape, dtype=np.uint8)
    Image.fromarray(photo + noise).save(tmp_path / "1.jpg", exif=exif, quality=95)
    Image.fromarray(mask).save(tmp_path / "1.png")
    (note,) = inspect_support(tmp_path).notes
    assert f"turned upright by EXIF (orientation {orientation}), the mask is not" in note
    turned = {2: mask[:, ::-1], 3: mask[::-1, ::-1], 4: mask[::-1]}[orientation]
    Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "1.png")
    assert inspect_support(tmp_path).notes == ()


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_square_photo_turned_by_exif(orientation: int, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 90, (80, 80, 3), dtype=np.uint8)
    mask = np.zeros((80, 80), dtype=np.uint8)
    photo[5:25, 30:70] += 160
    mask[5:25, 30:70] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(tmp_path / "1.png", exif=exif)
    Image.fromarray(mask).save(tmp_path / "1.bmp")
    (note,) = inspect_support(tmp_path).notes
    assert f"EXIF (orientation {orientation})" in note


def test_notes_of_one_kind_are_one_line(tmp_path: Path) -> None:
    mask = np.zeros(GREY.shape, dtype=np.uint8)
    mask[100:110], mask[:, 100:110] = 255, 255
    for number in range(1, 9):
        Image.fromarray(CAT).save(tmp_path / f"{number}.jpg")
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    words = "the object touches all four borders; likewise 2.png, 3.png, 4.png, 5.png, 6.png, ..."
    assert inspect_support(tmp_path).notes == (f"{tmp_path}/1.png: {words}",)


def test_the_example_dataset_reads_as_ever() -> None:
    """The same arrays as the plainest reading of these files gives."""
    for folder in ("fish", "mushroom", "photos/cat", "photos/cup"):
        path = ROOT / "example_dataset" / folder
        assert inspect_support(path).notes == ()
        for pair in load_support(path):
            plain = Image.open(path / f"{pair.name}.png")
            stored = np.asarray(plain)
            mask = (stored > 0).astype(np.uint8)
            if plain.mode == "P":
                mask[stored == 255] = 255
            assert np.array_equal(pair.mask, mask)
            photo = np.asarray(Image.open(path / f"{pair.name}.jpg").convert("RGB"))
            assert np.array_equal(pair.image, photo)

"""prepare_dataset --mask_class, and what is said of masks and photos that look odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.preparation.made_sources import (
    ELL,
    SQUARE,
    only_mask,
    photo,
    prepare,
    refused,
    save,
    save_mask,
    save_photo,
)

FISH = ("--category", "fish")
CLASSES = (15 * ELL + 5 * SQUARE).astype(np.uint8)  # numbers of two classes


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    save_photo(tmp_path / "source" / "1.jpg")
    save(tmp_path / "source" / "1.png", CLASSES)
    return tmp_path / "source"


@pytest.mark.parametrize(
    ("typed", "expected"), [("15", ELL), ("5", SQUARE), ("any", ELL + SQUARE), ("#0f0f0f", ELL)]
)
def test_one_class_of_a_label_map(labelled: Path, typed: str, expected: np.ndarray) -> None:
    assert (only_mask(prepare(labelled, *FISH, "--mask_class", typed)) == expected).all()


def test_classes_one_after_the_other_become_categories(labelled: Path) -> None:
    dataset = prepare(labelled, "--category", "person", "--mask_class", "15")
    prepare(labelled, "--category", "bottle", "--mask_class", "5", target=dataset)
    assert (only_mask(dataset, "person") == ELL).all()
    assert (only_mask(dataset, "bottle") == SQUARE).all()


def test_all_classes_are_the_object_with_a_note(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (only_mask(prepare(labelled, *FISH)) == ELL + SQUARE).all()
    told = capsys.readouterr().err
    assert "1.png: holds 2 classes or instances (5, 15)" in told and "mask_class" in told


@pytest.mark.parametrize(
    ("typed", "problem"),
    [("7", "no 7; correct mask_class"), ("fish", "--mask_class: must be a class number")],
)
def test_a_class_that_is_none(labelled: Path, typed: str, problem: str) -> None:
    assert problem in refused(labelled, *FISH, "--mask_class", typed)


def test_two_readings_are_refused_with_the_option(labelled: Path) -> None:
    thick = np.zeros_like(ELL)
    thick[:, 24:] = 255
    save(labelled / "1.png", np.maximum(CLASSES * 10 * (thick == 0), thick).astype(np.uint8))
    told = refused(labelled, *FISH)
    assert '"any" (both are object)' in told and "the option --mask_class here" in told


def test_formats_that_name_their_categories_have_no_mask_class(tmp_path: Path) -> None:
    save_photo(tmp_path / "source" / "JPEGImages" / "1.jpg")
    save(tmp_path / "source" / "SegmentationClass" / "1.png", CLASSES)
    told = refused(tmp_path / "source", "--mask_class", "15")
    assert "voc names its categories; type --category" in told


def test_an_inverted_mask_is_told_while_preparing(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_mask(labelled / "1.png", 1 - ELL)
    assert (only_mask(prepare(labelled, *FISH)) == 1 - ELL).all()
    told = capsys.readouterr().err
    assert "1.png: the object covers" in told and "touches all four borders" in told
    prepare(labelled, *FISH, "--mask_class", "0", target=labelled.parent / "again")
    assert (only_mask(labelled.parent / "again") == ELL).all()


def test_a_mask_drawn_on_the_photo_as_stored(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upright = photo() // 4 + np.uint8(150)  # noise, darker on the object
    upright[ELL == 1] -= 140
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    stored = Image.fromarray(upright[::-1, ::-1])
    stored.save(labelled / "1.jpg", quality=95, exif=exif.tobytes())
    save_mask(labelled / "1.png", ELL[::-1, ::-1])
    prepare(labelled, *FISH)
    assert "is turned upright by EXIF (orientation 3), the mask is not" in capsys.readouterr().err
    save_mask(labelled / "1.png", ELL)
    prepare(labelled, *FISH, target=labelled.parent / "again")
    assert "EXIF" not in capsys.readouterr().err


def test_a_jpeg_that_lacks_its_last_bytes(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = save(labelled / "1.jpg", photo()).read_bytes()
    (labelled / "1.jpg").write_bytes(data[:-2])
    save_mask(labelled / "1.png")
    assert (only_mask(prepare(labelled, *FISH)) == ELL).all()
    assert "1.jpg: is cut off at its end" in capsys.readouterr().err

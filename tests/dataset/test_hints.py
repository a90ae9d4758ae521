"""What is there is named: by the steps' own checks, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.support import check_support, load_support

PHOTO = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
MASK = np.zeros((24, 32), dtype=np.uint8)
MASK[6:18, 4:20] = 255
COCO: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
LABELME = {"version": "5", "shapes": [], "imagePath": "1.jpg"}


def save(path: Path, picture: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, dict):
        path.write_text(json.dumps(picture))
    elif isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        Image.fromarray(picture).save(path)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"1.dng": b"", "1.png": MASK},
            "1.dng is there, but DNG is not read; convert it",
        ),
        ({"1.CR2": b"", "1.png": MASK}, "1.CR2 is there, but CR2 is not read"),
        ({"IMG_1.HEIC": b"", "img_1.png": MASK}, "IMG_1.HEIC is there, of another spelling"),
        ({"1.jpg": PHOTO, "1.psd": b""}, "1.psd is there, but PSD is not read"),
        (
            {"1.jpg": PHOTO, "1.json": LABELME},
            "1.json is there, of labelme: python -m scripts",
        ),
        ({"1.jpg": PHOTO, "1.json": LABELME}, "--from labelme"),
        ({"IMG_1.JPG": PHOTO, "img_1.png": MASK}, "img_1.png is there, of another spelling"),
        ({"photo.jpg": PHOTO, "photo.jpg.png": MASK}, "photo.jpg.png is there"),
        ({"1.jpg": PHOTO, "1-gt.png": MASK}, "1-gt.png is there: give both files one name, or py"),
        ({"1.jpg": PHOTO}, "add 1.png or remove the file"),
        ({"1.jpg": PHOTO, "instances.json": COCO}, "coco files are there: python -m scripts"),
        ({"61-a.jpg": PHOTO, "task-3-annotation-3-by-1-tag-fish-0.png": MASK}, "--from label_st"),
    ],
)
def test_a_file_alone(tmp_path: Path, files: dict[str, Any], told: str) -> None:
    for name, content in files.items():
        save(tmp_path / name, content)
    assert told in "\n".join(check_support(tmp_path))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"images/1.png": PHOTO, "masks/1.png": MASK}, "pairs files are there: python -m scripts"),
        ({"a.nef": b""}, "a.nef is there, but NEF is not read"),
        ({"annotations.xml": b"<annotations></annotations>"}, "--from cvat"),
        ({}, "(1.jpg + 1.png; docs/FORMAT.md lists the formats)"),
    ],
)
def test_a_folder_without_pairs(tmp_path: Path, files: dict[str, Any], told: str) -> None:
    for name, content in files.items():
        save(tmp_path / name, content)
    assert told in "\n".join(check_support(tmp_path))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"1.jpg": PHOTO, "1.png": MASK},
            "to make one of what is there: python -m scripts",
        ),
        ({"fish/1.jpg": PHOTO, "fish/1.png": MASK}, "scripts.prepare_dataset {root} --category"),
        ({"1.jpg": PHOTO, "1.json": LABELME}, "labelme files are there: python -m scripts"),
        ({"a.json": {"images": [], "annotations": []}}, "coco files are there"),
        ({"JPEGImages/1.jpg": PHOTO, "SegmentationClass/1.png": MASK}, "--from voc"),
        ({"test/a/1.png": PHOTO, "ground_truth/a/1_mask.png": MASK}, "--from mvtec"),
        ({}, "scripts.prepare_dataset YOUR_PHOTOS --category NAME --dataset_dir {root}"),
    ],
)
def test_no_dataset_json(tmp_path: Path, files: dict[str, Any], told: str) -> None:
    for name, content in files.items():
        save(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        load_prompt_bank(tmp_path)
    assert told.format(root=tmp_path) in str(caught.value)


def test_a_png_photo_may_have_a_mask_named_mask(tmp_path: Path) -> None:
    for name, picture in {
        "1.png": PHOTO,
        "1_mask.png": MASK,
        "2.jpg": PHOTO,
        "2.png": MASK,
    }.items():
        save(tmp_path / name, picture)
    pairs = load_support(tmp_path)
    assert [pair.name for pair in pairs] == ["1", "2"]
    assert all((pair.mask == MASK // 255).all() for pair in pairs)
    assert (pairs[0].image == PHOTO).all()


def test_a_photo_of_a_mask_is_a_photo(tmp_path: Path) -> None:
    for name, picture in {"gas_mask.jpg": PHOTO, "gas_mask.png": MASK, "gas.jpg": PHOTO}.items():
        save(tmp_path / name, picture)
    assert check_support(tmp_path) == [
        f"{tmp_path}/gas.jpg: has no mask beside it; gas_mask.jpg is there: give both files one "
        f"name, or python -m scripts.prepare_dataset {tmp_path} --category NAME --dataset_dir "
        "NEW_FOLDER"
    ]

from __future__ import annotations

from pathlib import Path

import pytest

from aligndiff.annotations.mask_names import photo_of
from tests.preparation.made_sources import (
    ELL,
    SQUARE,
    masks_of,
    only_mask,
    pairs_of,
    prepare,
    refused,
    save_mask,
    save_photo,
)

FISH = ("--category", "fish")


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("1.jpg", "1.png"),
        ("1.png", "1_mask.png"),
        ("IMG_1.JPG", "img_1.png"),
        ("IMG_1.JPG", "img_1_MASK.PNG"),
        ("1.jpg", "1-mask.png"),
        ("1.jpg", "1.mask.png"),
        ("1.jpg", "1 mask.png"),
        ("1.jpg", "1mask.png"),
        ("1.jpg", "1 (mask).png"),
        ("1.jpg", "1_gt.png"),
        ("1.jpg", "1_GT.png"),
        ("1.jpg", "1_mask_0.png"),
        ("1.jpg", "mask_1.png"),
        ("img_001.jpg", "mask_001.png"),
        ("image_1.jpg", "label_1.png"),
        ("photo.jpg", "photo.jpg.png"),
        ("photo.jpg", "photo.jpg_mask.png"),
        ("photo.png", "photo.png.png"),
        ("ISIC_0001.jpg", "ISIC_0001_segmentation.png"),
        ("0001TP_006690.png", "0001TP_006690_L.png"),
        ("a_sat.jpg", "a_mask.png"),
        ("images/1.png", "masks/1.png"),
        ("images/1.jpg", "masks/1.png"),
        ("Images/1.jpg", "GT/1.png"),
        ("imgs/1.jpg", "labels/1.png"),
        ("img/photo.jpg", "masks_human/photo.jpg.png"),
        ("images/IMG_1.JPG", "masks/img_1_mask.png"),
        ("images/img_01.png", "masks/mask_1.png"),
        ("train/images/1.jpg", "train/masks/1.png"),
        ("images/train/1.jpg", "masks/train/1.png"),
        ("photos/a.jpg", "annotations/a.png"),
        ("1.webp", "1.png"),
        ("a/b c/ü 1.jpeg", "a/b c/ü 1_mask.png"),
    ],
)
def test_names_that_go_together(source: Path, photo: str, mask: str) -> None:
    save_photo(source / photo)
    save_mask(source / mask)
    folder = Path(photo).parent.name == "b c"
    named = ("--category", "b c=fish") if folder else FISH
    assert (only_mask(prepare(source, *named)) == ELL).all()


def test_several_masks_of_a_photo_are_one(source: Path) -> None:
    save_photo(source / "1.jpg")
    save_mask(source / "1_mask_0.png", ELL)
    save_mask(source / "1_mask_1.png", SQUARE)
    assert (only_mask(prepare(source, *FISH)) == ELL | SQUARE).all()


@pytest.mark.parametrize(
    ("fish", "bird"),
    [
        (("fish/1.jpg", "fish/1.png"), ("bird/1.jpg", "bird/1.png")),
        (("images/fish/1.png", "masks/fish/1.png"), ("images/bird/1.png", "masks/bird/1.png")),
        (("fish/images/1.png", "fish/masks/1.png"), ("bird/images/1.png", "bird/masks/1.png")),
        (("train/fish/1.jpg", "train/fish/1.png"), ("bird/val/1.jpg", "bird/val/1_mask.png")),
        (("images/1.jpg", "masks/fish/1.png"), ("images/2.jpg", "masks/bird/2.png")),
        (("images/1.jpg", "masks/fish/1.png"), ("images/1.jpg", "masks/bird/1.png")),
    ],
)
def test_folders_name_categories(
    source: Path, fish: tuple[str, str], bird: tuple[str, str]
) -> None:
    for seed, (photo, mask) in enumerate((fish, bird)):
        if not (source / photo).exists():
            save_photo(source / photo, seed)
        save_mask(source / mask, (ELL, SQUARE)[seed])
    dataset = prepare(source)
    assert (only_mask(dataset) == ELL).all() and (only_mask(dataset, "bird") == SQUARE).all()


def test_a_name_that_means_two_photos_is_refused(source: Path) -> None:
    for seed, name in enumerate(("a.jpg", "a.webp")):
        save_photo(source / "images" / name, seed)
    save_mask(source / "masks" / "a.png")
    assert "masks/a.png: may be the mask of images/a.jpg, images/a.webp" in refused(source, *FISH)


def test_three_of_a_name_are_refused(source: Path) -> None:
    for seed, name in enumerate(("a.jpg", "a.webp", "a.png")):
        save_photo(source / name, seed)
    assert "3 files of one name (a.jpg, a.png, a.webp)" in refused(source, *FISH)


def test_a_mask_without_its_photo_is_named_and_can_be_left_out(source: Path) -> None:
    save_photo(source / "images" / "a.jpg")
    save_mask(source / "masks" / "a.png")
    save_mask(source / "masks" / "other.png")
    assert "masks/other.png: named as a mask, without a photo" in refused(source, *FISH)
    assert len(masks_of(prepare(source, *FISH, "--skip_bad"))) == 1


def test_photos_alone_are_told(source: Path) -> None:
    for seed in range(5):
        save_photo(source / f"{seed}.jpg", seed)
    told = refused(source, *FISH)
    assert "holds photos without a mask (0.jpg, 1.jpg, 2.jpg and 2 more)" in told
    assert "docs/YOUR_PHOTOS.md" in told


def test_numbers_are_matched_only_where_nothing_else_tells(source: Path) -> None:
    for number in (1, 2):
        save_photo(source / "photos" / f"holiday-{number}.jpg", number)
    save_mask(source / "masks" / "fish001.png", ELL)
    save_mask(source / "masks" / "fish002.png", SQUARE)
    pairs = pairs_of(prepare(source, *FISH))
    assert (pairs["holiday-1"].mask == ELL).all() and (pairs["holiday-2"].mask == SQUARE).all()


@pytest.mark.parametrize("stem", ["photo", "masquerade", "IMG_1", "gtx", "fish 2", "seagull"])
def test_words_that_only_look_like_marks(stem: str) -> None:
    assert photo_of(stem) is None

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8
from aligndiff.dataset.raster import KINDS
from aligndiff.dataset.support import (
    check_support,
    find_pairs,
    load_support,
    support_fingerprint,
)

HEIGHT, WIDTH = 24, 32
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
MASK[6:18, 4:20] = 255
GREY_PHOTO = np.repeat(PHOTO[..., :1], 3, axis=2)
EMPTY, FULL = np.zeros_like(MASK), np.full_like(MASK, 255)


def save(folder: Path, **files: Uint8 | bytes) -> None:
    """Write files; 1__jpg is the name 1.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path)


def names(folder: Path) -> list[tuple[str, str, str]]:
    return [(pair.name, pair.image.name, pair.mask.name) for pair in find_pairs(folder)]


def test_pairs_come_in_natural_order_with_any_suffix(tmp_path: Path) -> None:
    for image in ("10.jpg", "2.JPEG", "1.webp", "b.Jpg", "A.JPG"):
        Image.fromarray(PHOTO).save(tmp_path / image)
    for mask in ("10.PNG", "2.png", "1.png", "b.png", "A.Png"):
        Image.fromarray(MASK).save(tmp_path / mask)
    assert [pair[1:] for pair in names(tmp_path)] == [
        ("1.webp", "1.png"),
        ("2.JPEG", "2.png"),
        ("10.jpg", "10.PNG"),
        ("A.JPG", "A.Png"),
        ("b.Jpg", "b.png"),
    ]


def test_other_files_are_ignored(tmp_path: Path) -> None:
    save(tmp_path, **{"1__jpg": PHOTO, "1__png": MASK, "__hidden__png": MASK, "notes__txt": b"x"})
    save(tmp_path / "learned_embeddings", **{"loss__png": PHOTO})
    save(tmp_path / "3.png", **{"a__txt": b"x"})
    assert names(tmp_path) == [("1", "1.jpg", "1.png")]


VOC = Image.fromarray(MASK // 255).convert("P")
VOC.putpalette([0, 0, 0, 128, 0, 0] + [200, 200, 0] * 254)
RED = np.dstack([MASK, EMPTY, EMPTY])


@pytest.mark.parametrize(
    ("first", "second", "mask"),
    [
        (("1.jpg", PHOTO), ("1.png", MASK), "1.png"),
        (("1.jpg", PHOTO), ("1.png", np.dstack([MASK] * 3)), "1.png"),
        (("1.jpg", PHOTO), ("1.png", RED), "1.png"),
        (("1.jpg", PHOTO), ("1.png", VOC), "1.png"),
        (("1.jpg", GREY_PHOTO), ("1.png", MASK), "1.png"),
        (("1.jpg", GREY_PHOTO), ("1.png", RED), "1.png"),
        (("1.jpg", GREY_PHOTO), ("1.png", VOC), "1.png"),
        # the other way round, and where the suffix tells nothing
        (("1.jpg", MASK), ("1.png", PHOTO), "1.jpg"),
        (("1.webp", MASK), ("1.png", PHOTO), "1.webp"),
        (("1.jpg", PHOTO), ("1.jpeg", MASK), "1.jpeg"),
        (("1.png", PHOTO), ("1.PNG", MASK), "1.PNG"),
        (("1.PNG", GREY_PHOTO), ("1.png", MASK), "1.png"),
    ],
)
def test_the_mask_is_told_from_the_image(
    first: tuple[str, object], second: tuple[str, object], mask: str, tmp_path: Path
) -> None:
    for name, content in (first, second):
        image = content if isinstance(content, Image.Image) else Image.fromarray(content)
        image.save(tmp_path / name)
    (pair,) = find_pairs(tmp_path)
    assert pair.mask.name == mask
    assert {pair.image.name, pair.mask.name} == {first[0], second[0]}


WHICH = "save the mask as a black and white PNG and the image as JPG"


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        ({"notes__txt": b"x"}, ["has no support pairs; put images and masks of the same name in it "
                                "(1.jpg + 1.png; docs/FORMAT.md lists the formats)"]),
        ({"1__jpg": PHOTO}, ["/1.jpg: has no mask beside it; add 1.png or remove the file"]),
        (
            {"1__png": MASK},
            ["/1.png: has no image or mask beside it; add 1.jpg or remove the file"],
        ),
        (
            {"2__jpg": PHOTO, "10__jpg": PHOTO},
            [
                "/2.jpg: has no mask beside it; add 2.png or remove the file",
                "/10.jpg: has no mask beside it; add 10.png or remove the file",
            ],
        ),
        (
            {"1__jpg": PHOTO, "1__png": MASK, "1__webp": PHOTO},
            [
                "/1: 3 files of one name (1.jpg, 1.png, 1.webp); keep the image and its mask, "
                "remove the rest"
            ],
        ),
        (
            {"1__jpg": PHOTO, "1__png": PHOTO},
            [f"/1: cannot tell which of 1.jpg and 1.png is the mask; {WHICH}"],
        ),
        (
            {"1__jpg": PHOTO, "1__webp": PHOTO},
            [f"/1: cannot tell which of 1.jpg and 1.webp is the mask; {WHICH}"],
        ),
        (
            {"1__jpg": PHOTO, "1__png": MASK[:-2]},
            [
                "/1.png: is 32 x 22 px, its image 1.jpg 32 x 24; a mask must have its image's "
                "width and height"
            ],
        ),
        (
            {"1__jpg": PHOTO, "1__png": np.ascontiguousarray(MASK.T)},
            [
                "/1.png: is 24 x 32 px, its image 1.jpg 32 x 24; a mask must have its image's "
                "width and height (is one of them rotated by its EXIF orientation?)"
            ],
        ),
        (
            {"1__jpg": PHOTO, "1__png": EMPTY},
            ["/1.png: is empty; mark the object with 1 or 255, or remove the pair"],
        ),
        (
            {"1__jpg": PHOTO, "1__png": FULL},
            ["/1.png: is all object; leave the background 0, or remove the pair"],
        ),
        (
            {"1__jpg": b"broken", "1__png": MASK},
            ["/1.jpg: not a readable image (" + KINDS + "); replace or remove the file"],
        ),
        (
            {"1__jpg": PHOTO, "1__png": b""},
            ["/1.png: not a readable image (" + KINDS + "); replace or remove the file"],
        ),
        (
            {"1__jpg": b"broken", "1__png": EMPTY, "2__jpg": PHOTO},
            [
                "/2.jpg: has no mask beside it; add 2.png or remove the file",
                "/1.jpg: not a readable image (" + KINDS + "); replace or remove the file",
                "/1.png: is empty; mark the object with 1 or 255, or remove the pair",
            ],
        ),
    ],
)  # fmt: skip
def test_problems_are_all_told(
    files: dict[str, Uint8 | bytes], problems: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "fish"
    save(folder, **files)
    expected = [f"{folder}{'' if line[0] == '/' else ': '}{line}" for line in problems]
    assert check_support(folder) == expected
    with pytest.raises(InputError) as error:
        load_support(folder)
    assert list(error.value.problems) == expected


def test_a_palette_of_black_and_white_is_read_by_its_colours(tmp_path: Path) -> None:
    """Index 255 is white there, and not "ignore"."""
    save(tmp_path, **{"1__jpg": PHOTO})
    Image.fromarray(MASK).convert("P").save(tmp_path / "1.png")
    (pair,) = load_support(tmp_path)
    assert np.array_equal(pair.mask, MASK // 255)


@pytest.mark.parametrize(
    ("name", "problem"),
    [("gone", "no such folder"), ("file.txt", "is a file, not a folder")],
)
def test_no_folder(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(InputError) as error:
        find_pairs(tmp_path / name)
    hint = "give a folder of support pairs (1.jpg + 1.png)"
    assert error.value.problems == (f"{tmp_path / name}: {problem}; {hint}",)


def test_a_pair_is_loaded_upright(tmp_path: Path) -> None:
    """A phone's photo: stored lying, shown standing; its mask was drawn on what was shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(PHOTO)))
    stored.save(tmp_path / "1.jpg", exif=exif, quality=100, subsampling=0)
    Image.fromarray(MASK).save(tmp_path / "1.png")
    (pair,) = load_support(tmp_path)
    assert (pair.name, pair.image.shape, pair.image.dtype) == ("1", (HEIGHT, WIDTH, 3), np.uint8)
    assert np.abs(pair.image.astype(int) - PHOTO).mean() < 3
    assert np.array_equal(pair.mask, MASK // 255)


def test_the_fingerprint_follows_names_and_bytes(tmp_path: Path) -> None:
    save(tmp_path, **{"1__jpg": PHOTO, "1__png": MASK})
    first = support_fingerprint(tmp_path)
    save(tmp_path, **{"notes__txt": b"x"})
    assert support_fingerprint(tmp_path) == first
    save(tmp_path, **{"1__png": MASK[:, ::-1].copy()})
    second = support_fingerprint(tmp_path)
    (tmp_path / "1.jpg").rename(tmp_path / "2.jpg")
    (tmp_path / "1.png").rename(tmp_path / "2.png")
    assert len({first, second, support_fingerprint(tmp_path)}) == 3

"""Files that are no support pairs are told in one line; odd pictures that are promised work."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.support import load_support
from scripts import diffuse_img_attention, mask_generation
from tests.scripts.conftest import Refused, command, told

Spoil = Callable[[Path], object]
RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
FISH_1 = "entry 1 (fish): D_good_dir: "


def png_of(width: int, height: int, rows: bytes = b"") -> bytes:
    """A grey PNG made by hand, which says it is as large as you like."""

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def encoded(kind: str, frames: int = 1) -> bytes:
    buffer = io.BytesIO()
    others = [PHOTO.rotate(90 * turn) for turn in range(1, frames)]
    more = {"save_all": True, "append_images": others} if frames > 1 else {}
    PHOTO.save(buffer, kind, **more)
    return buffer.getvalue()


def put(name: str, data: bytes) -> Spoil:
    return lambda root: (root / "fish" / name).write_bytes(data)


def instead(name: str, make: Callable[[Path], object]) -> Spoil:
    """Make something else in the place of a support file."""

    def spoil(root: Path) -> None:
        (root / "fish" / name).unlink()
        make(root / "fish" / name)

    return spoil


def outside(path: Path) -> None:
    target = path.parents[2] / "secret.jpg"
    target.write_bytes(encoded("JPEG"))
    path.symlink_to("../../secret.jpg")  # as one that came in an archive
    assert path.resolve() == target


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**30)  # without using the disk


def mask(array: np.ndarray) -> Spoil:
    return lambda root: Image.fromarray(array).save(root / "fish" / "1.png")


EMPTY = np.zeros((64, 64), np.uint8)
OBJECT = EMPTY.copy()
OBJECT[16:48, 16:48] = 255
NOT_READABLE = "not a readable image", "replace or remove the file"
CASES: dict[str, tuple[Spoil, str, str]] = {
    "empty image": (put("1.jpg", b""), *NOT_READABLE),
    "empty mask": (put("1.png", b""), *NOT_READABLE),
    "text as an image": (put("1.jpg", b"not an image"), *NOT_READABLE),
    "cut JPEG": (put("1.jpg", encoded("JPEG")[:700]), "is cut off", "copy it again"),
    "cut PNG": (put("1.png", encoded("PNG")[:2000]), "is cut off", "copy it again"),
    "a web page": (put("1.jpg", b"<!DOCTYPE html><html></html>"), *NOT_READABLE),
    "a pickle": (put("1.jpg", pickle.dumps({"a": 1})), *NOT_READABLE),
    "EPS": (put("1.jpg", encoded("EPS")), "not a readable image (JPEG", "replace or remove"),
    "bomb": (put("1.png", png_of(60_000, 60_000)), "is 60000 x 60000 px", "make it smaller"),
    "small bomb": (put("1.jpg", png_of(11_000, 11_000)), "is 11000 x 11000 px", "make it smaller"),
    "largest PNG": (put("1.jpg", png_of(2**31 - 1, 2**31 - 1)), "is 2147483647 x", "make it small"),
    "PNG of no width": (put("1.png", png_of(0, 64)), *NOT_READABLE),
    "PNG without pixels": (put("1.png", png_of(64, 64)), "is cut off", "copy it again"),
    "a gigabyte": (instead("1.jpg", large), "is 1024 MiB large, at most 512", "make it smaller"),
    "a folder": (instead("1.jpg", Path.mkdir), "1.jpg: is a folder, a pipe", "put the file in its"),
    "a pipe": (instead("1.png", os.mkfifo), "1.png: is a folder, a pipe", "put the file in its"),
    "a device": (instead("1.png", lambda p: p.symlink_to("/dev/zero")), "a pipe", "put the file"),
    "a broken link": (instead("1.jpg", lambda p: p.symlink_to("x")), "broken link", "put the file"),
    "a circle": (instead("1.jpg", lambda p: p.symlink_to("1.jpg")), "broken link", "put the file"),
    "a link out": (instead("1.jpg", outside), "is a relative link out of", "make it absolute"),
    "no mask": (instead("1.png", lambda p: None), "1.jpg: has no mask", "add 1.png or remove"),
    "no image": (instead("1.jpg", lambda p: None), "1.png: has no image", "add 1.jpg or remove"),
    "three of a name": (put("1.webp", encoded("WEBP")), "3 files of one name", "remove the rest"),
    "a mask of nothing": (mask(EMPTY), "1.png: is empty", "mark the object"),
    "a mask of all": (mask(EMPTY + 255), "1.png: is all object", "leave the background 0"),
    "a smaller mask": (
        mask(OBJECT[:32]),
        "is 64 x 32 px, its image 1.jpg 64 x 64",
        "must have its",
    ),
    "two photos": (
        put("1.png", encoded("PNG")),
        "cannot tell which of 1.jpg and 1.png",
        "save the",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_support_files(what: str, dataset_dir: Path, refused: Refused) -> None:
    spoil, where, to_do = CASES[what]
    spoil(dataset_dir)
    (line,) = refused(diffuse_img_attention, dataset_dir, "--diffusion_model", "tiny")
    assert line.startswith(f"dataset.json: {FISH_1}{dataset_dir}/fish/1")
    assert where in line and to_do in line


def test_a_folder_without_pairs(dataset_dir: Path, refused: Refused) -> None:
    for path in (dataset_dir / "fish").iterdir():
        path.rename(path.with_suffix(".txt"))  # of another kind: not looked at
    (line,) = refused(mask_generation, dataset_dir, "--fss_ckpt_path", "tiny")
    assert "fish: has no support pairs; put images and masks of the same name in it" in line


NAMES = [
    "a b",
    "it's",
    'say "x"',
    "two\nlines",
    "\x1b[31mred",
    "Fühler",
    "猫",
    "-rf",
    "$(x)",
    "a;b",
]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_told_in_one_line(name: str, dataset_dir: Path, refused: Refused) -> None:
    (dataset_dir / "fish" / f"{name}.jpg").write_bytes(encoded("JPEG"))
    (line,) = refused(diffuse_img_attention, dataset_dir, "--diffusion_model", "tiny")
    assert "has no mask beside it; add " in line


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"caf\xe9 in Latin-1")])
def test_odd_names_work(name: str, dataset_dir: Path) -> None:
    (dataset_dir / "fish" / "1.jpg").rename(dataset_dir / "fish" / f"{name}.jpg")
    (dataset_dir / "fish" / "1.png").rename(dataset_dir / "fish" / f"{name}.png")
    root = dataset_dir.rename(dataset_dir.parent / name)
    load_prompt_bank(root)
    assert name in [pair.name for pair in load_support(root / "fish")]


ODD = {
    "CMYK": PHOTO.convert("CMYK"),
    "16 bits": Image.fromarray(RNG.integers(0, 65536, (64, 64), dtype=np.uint16)),
    "transparent": PHOTO.convert("RGBA"),
    "grey and transparent": PHOTO.convert("LA"),
    "palette": PHOTO.quantize(200),
}


@pytest.mark.parametrize("what", ODD)
def test_images_of_every_mode_work(what: str, dataset_dir: Path) -> None:
    """What docs/FORMAT.md promises: "any mode"."""
    folder = dataset_dir / "fish"
    if what == "CMYK":  # no PNG can hold that
        mask(OBJECT)(dataset_dir)
        ODD[what].save(folder / "1.jpg")
    else:
        (folder / "1.jpg").unlink()
        ODD[what].save(folder / "1.png")
        Image.fromarray(OBJECT).save(folder / "1.PNG")
    load_prompt_bank(dataset_dir)
    assert np.array_equal(load_support(folder)[0].mask, OBJECT // 255)


def test_a_phones_jpeg_with_a_preview_is_no_animation(dataset_dir: Path) -> None:
    (dataset_dir / "fish" / "1.jpg").write_bytes(encoded("MPO", 2))
    load_prompt_bank(dataset_dir)


@pytest.mark.parametrize("what", ["a pipe", "bomb", "small bomb", "EPS"])
def test_as_a_process_without_torch(what: str, dataset_dir: Path) -> None:
    spoil, where, to_do = CASES[what]
    spoil(dataset_dir)
    done = command("mask_generation", "--dataset_dir", str(dataset_dir))
    assert done.returncode == 2 and done.stdout == ""
    (line,) = told(done.stderr)
    assert where in line and to_do in line

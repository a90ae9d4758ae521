"""Whatever the bytes of dataset.json or of a picture: they are read, or an InputError says why."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import check_image, read_grey, read_image, read_photo
from aligndiff.dataset.masks import read_mask
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.support import check_support

# The same cases on every machine and in every run; no time limits, the machines are busy ones.
FUZZ = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=400,
    suppress_health_check=list(HealthCheck),
)
BANK = {
    "defaults": {"diffusion_model": "tiny", "guidance_scale": 3.5, "num_inference_steps": 20},
    "prompt_dataset": [
        {"type": "text", "category": "fish", "D_good_dir": "fish", "text": "a photo of a fish"},
        {"type": "NM_embedding", "category": "fish", "D_good_dir": "fish", "path": "fish"},
    ],
}
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8))
MASK = Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((8, 8), (4, 4))))


def read_or_refuse(read: Callable[[], object]) -> None:
    """Run it; only an InputError of plain lines may come out."""
    try:
        read()
    except InputError as error:
        assert error.problems and all(line.isprintable() for line in error.problems)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with one support pair; every case writes its own dataset.json."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "fish").mkdir()
    PHOTO.save(folder / "fish" / "1.jpg")
    MASK.save(folder / "fish" / "1.png")
    return folder


def load(root: Path, content: bytes) -> None:
    (root / "dataset.json").write_bytes(content)
    read_or_refuse(
        lambda: load_prompt_bank(root, token_counter=lambda _: lambda prompt: len(prompt.split()))
    )


ODD_TEXTS = [
    "",
    " ",
    ".",
    "..",
    "../..",
    "/",
    "fish/..",
    "\0",
    "\ud800",
    "\n",
    "~",
    "a" * 300,
    "fish",
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=("Cs", "Cc", "Zl", "Zp", "Lu"))),
    st.sampled_from(ODD_TEXTS),
)
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# Edits: at (which container, counted through the file), set (which key, or a new one) to a value.
EDITS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(ODD_TEXTS), JSON), max_size=4
)


def containers(value: Any) -> list[Any]:
    """Every object and list of a JSON value, itself first."""
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(found for item in inner for found in containers(item))]


def edit(bank: Any, where: int, which: int, new_key: str, value: Any) -> None:
    places = containers(bank)
    place = places[where % len(places)]
    if isinstance(place, list):
        place.insert(which, value)
    else:
        keys = [*place, new_key]
        place[keys[which % len(keys)]] = value


@FUZZ
@given(edits=EDITS)
def test_dataset_json_with_other_values(edits: list[Any], root: Path) -> None:
    bank = json.loads(json.dumps(BANK))
    for changes in edits:
        edit(bank, *changes)
    load(root, json.dumps(bank).encode())


@FUZZ
@given(value=JSON)
def test_dataset_json_of_any_json(value: Any, root: Path) -> None:
    load(root, json.dumps({"prompt_dataset": value}).encode())
    load(root, json.dumps(value).encode())


def spoilt(whole: bytes) -> st.SearchStrategy[bytes]:
    """`whole` with some bytes changed, a part taken out or put in twice, perhaps cut off."""
    at = st.integers(0, len(whole) - 1)
    changes = st.lists(st.tuples(at, st.integers(0, 255)), max_size=6)
    spans = st.lists(st.tuples(at, st.integers(-16, 16)), max_size=2)
    return st.builds(_spoil, st.just(whole), changes, spans, st.integers(0, 8), at)


def _spoil(
    whole: bytes, changes: list[tuple[int, int]], spans: list[tuple[int, int]], cut: int, end: int
) -> bytes:
    data = bytearray(whole)
    for place, value in changes:
        data[place] = value
    for place, length in spans:  # negative: said twice
        data[place : place + max(length, 0)] = data[place + min(length, 0) : place] * (length < 0)
    return bytes(data[:end]) if cut == 0 else bytes(data)


@FUZZ
@given(data=st.one_of(st.binary(), spoilt(json.dumps(BANK, indent=1).encode())))
def test_dataset_json_of_any_bytes(data: bytes, root: Path) -> None:
    load(root, data)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_good_sums(data: bytes) -> bytes:
    """A PNG with the checksums of its chunks put right, so that more than these is looked at."""
    signature, at = data[:8], 8
    if signature != b"\x89PNG\r\n\x1a\n":
        return data
    fixed = bytearray(data)
    while at + 12 <= len(data):
        end = at + 8 + struct.unpack(">I", data[at : at + 4])[0]
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(fixed[: len(data)])


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "a camera"
    return tags


FILES = {
    "JPEG": encoded(PHOTO, "JPEG", exif=exif()),
    "JPEG, progressive": encoded(PHOTO, "JPEG", progressive=True),
    "JPEG, CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "MPO": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO]),
    "PNG": encoded(PHOTO, "PNG", exif=exif()),
    "PNG, grey": encoded(MASK, "PNG", transparency=0),
    "PNG, palette": encoded(PHOTO.quantize(8), "PNG", transparency=b"\0\x80\xff"),
    "PNG, alpha": encoded(PHOTO.convert("RGBA"), "PNG"),
    "PNG, 16 bits": encoded(Image.fromarray(np.asarray(MASK).astype(np.uint16) * 200), "PNG"),
    "PNG, animated": encoded(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(90)]),
    "WebP": encoded(PHOTO, "WEBP", exif=exif()),
    "WebP, lossless": encoded(PHOTO.convert("RGBA"), "WEBP", lossless=True),
    "AVIF": encoded(PHOTO, "AVIF"),
    "TIFF": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "BMP": encoded(PHOTO, "BMP"),
    "GIF": encoded(PHOTO, "GIF"),
}
MASKS = ("PNG, grey", "PNG, 16 bits")  # the others are photos
READERS = (read_image, read_mask, read_grey, check_image, read_photo)


@pytest.mark.filterwarnings("ignore")  # of Pillow's, which the scripts keep quiet
@pytest.mark.parametrize("kind", FILES)
def test_pictures_of_any_bytes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "1.png"

    @settings(FUZZ, max_examples=150)
    @given(data=spoilt(FILES[kind]))
    def check(data: bytes) -> None:
        path.write_bytes(with_good_sums(data))
        for read in READERS:
            read_or_refuse(partial(read, path))

    check()


@pytest.mark.filterwarnings("ignore")
def test_pairs_of_any_bytes(tmp_path: Path, root: Path) -> None:
    folder = Path(shutil.copytree(root / "fish", tmp_path / "fish"))

    @settings(FUZZ, max_examples=150)
    @given(image=spoilt(FILES["JPEG"]), mask=spoilt(FILES["PNG, palette"]))
    def check(image: bytes, mask: bytes) -> None:
        (folder / "1.jpg").write_bytes(image)
        (folder / "1.png").write_bytes(with_good_sums(mask))
        assert all(line.strip() for line in check_support(folder))

    check()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FILES)
def test_the_files_before_they_are_spoilt_are_good(kind: str, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(FILES[kind])
    for read in READERS:
        if read is not read_mask or kind in MASKS:
            read(tmp_path / "1.png")

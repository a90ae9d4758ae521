"""CVAT, Supervisely, YOLO, MVTec: masks pixel by pixel, and what is refused."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aligndiff.dataset.images import Uint8
from aligndiff.export.formats.objects import objects_of
from aligndiff.export.formats.yolo import label_text
from tests.preparation.made_sources import (
    CORNERS,
    ELL,
    HEIGHT,
    OUTERMOST,
    SIZE,
    SQUARE,
    WIDTH,
    masks_of,
    only_mask,
    pairs_of,
    prepare,
    refused,
    save_mask,
    save_photo,
    write_json,
)

POINTS = ";".join(f"{x},{y}" for x, y in CORNERS)
POLYGON = f'<polygon label="fish" source="manual" occluded="0" points="{POINTS}" z_order="0"/>'


def row_runs(mask: Any) -> str:
    """CVAT's runs: along the rows of the mask's box, background first."""
    flat = mask.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    return ", ".join(map(str, counts if flat[0] == 0 else [0, *counts]))


def cvat(folder: Path, *shapes: str, name: str = "1.jpg", width: Any = WIDTH) -> None:
    image = (
        f'<image id="0" name="{name}" width="{width}" height="{HEIGHT}">{"".join(shapes)}</image>'
    )
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{image}'
    (folder / "annotations.xml").write_text(text + "</annotations>")


BOX = 'left="4" top="6" width="16" height="12"'
MASK = f'<mask label="fish" rle="{row_runs(ELL[6:18, 4:20])}" {BOX}/>'


@pytest.mark.parametrize("drawn", [POLYGON, MASK], ids=["polygon", "mask"])
def test_cvat_pixel_by_pixel(source: Path, drawn: str) -> None:
    save_photo(source / "images" / "1.jpg")
    cvat(source, drawn)
    assert (only_mask(prepare(source)) == ELL).all()


@pytest.mark.parametrize(
    ("drawn", "keys", "problem"),
    [
        (POLYGON, {"name": "../../secret.jpg"}, "a path out of the source folder"),
        (POLYGON, {"width": "9"}, "was annotated at 9 x 24 px and is 32 x 24"),
        (POLYGON, {"width": "nan"}, "its width is 'nan', not a number of pixels"),
        (POLYGON.replace("4,6;", "nan,6;"), {}, "no finite number"),
        (POLYGON.replace("4,6;", "1e300,6;"), {}, "a polygon reaches x 1e+300"),
        (MASK.replace('left="4"', 'left="99"'), {}, "a mask at x 99 to 115"),
        (MASK.replace('width="16"', 'width="60000"'), {}, "fills 192 of 60000 x 12 px"),
        (MASK.replace('rle="', 'rle="x,'), {}, "its rle is no list of whole numbers"),
        ("<polygon", {}, "not valid XML"),
    ],
)
def test_cvat_refuses_by_name(source: Path, drawn: str, keys: Any, problem: str) -> None:
    save_photo(source / "1.jpg")
    save_photo(source.parent / "secret.jpg")
    cvat(source, drawn, **keys)
    told = refused(source)
    assert problem in told
    assert "annotations.xml" in told


def test_xml_with_entities_is_refused(source: Path) -> None:
    save_photo(source / "1.jpg")
    bomb = '<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa">]>\n<annotations>&a;</annotations>'
    (source / "annotations.xml").write_text(bomb)
    assert "declares a document type" in refused(source)


def bitmap(bits: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(bits.astype(np.uint8) * np.uint8(255)).save(buffer, "PNG")
    return base64.b64encode(zlib.compress(buffer.getvalue())).decode()


def supervisely(source: Path, *objects: dict[str, Any], size: Any = None) -> None:
    write_json(source / "meta.json", {"classes": [{"title": "fish", "shape": "any"}], "tags": []})
    save_photo(source / "ds" / "img" / "1.jpg")
    content = {"size": size or SIZE, "objects": list(objects), "tags": []}
    write_json(source / "ds" / "ann" / "1.jpg.json", content)


def polygon(outer: Any = OUTERMOST, holes: Any = ()) -> dict[str, Any]:
    points = {"exterior": outer, "interior": list(holes)}
    return {"classTitle": "fish", "geometryType": "polygon", "points": points}


def bits(data: Any, origin: Any = (4, 6)) -> dict[str, Any]:
    inner = {"data": data, "origin": list(origin)}
    return {"classTitle": "fish", "geometryType": "bitmap", "bitmap": inner}


@pytest.mark.parametrize(
    "drawn", [polygon(), bits(bitmap(ELL[6:18, 4:20]))], ids=["polygon", "bitmap"]
)
def test_supervisely_pixel_by_pixel(source: Path, drawn: dict[str, Any]) -> None:
    supervisely(source, drawn)
    assert (only_mask(prepare(source)) == ELL).all()


def test_supervisely_holes(source: Path) -> None:
    supervisely(
        source, polygon([[2, 2], [20, 2], [20, 20], [2, 20]], [[[6, 6], [9, 6], [9, 9], [6, 9]]])
    )
    mask = only_mask(prepare(source))
    assert mask[7, 7] == 0 and mask[4, 4] == 1 and mask[20, 20] == 1


@pytest.mark.parametrize(
    ("drawn", "problem"),
    [
        (polygon([[0, 0], [1e12, 0], [1, 1]]), "a polygon reaches x 1e+12"),
        (polygon([[0, 0]]), "object 1 (fish): a polygon has no list of three"),
        (bits("AAAA"), "no base64 text of compressed data"),
        (bits(base64.b64encode(zlib.compress(b"GIF89a")).decode()), "is no PNG"),
        (bits(base64.b64encode(zlib.compress(bytes(70 * 2**20))).decode()), "larger than any mask"),
        (bits(bitmap(ELL), (9, 9)), "a mask at x 9 to 41"),
        (bits(bitmap(ELL), ("a", 9)), "its origin is 'a'"),
    ],
)
def test_supervisely_refuses_by_name(source: Path, drawn: dict[str, Any], problem: str) -> None:
    supervisely(source, drawn)
    told = refused(source)
    assert problem in told
    assert "ds/ann/1.jpg.json" in told


def lines(mask: Uint8) -> str:
    """The label file of our own export, class 1."""
    size = (HEIGHT, WIDTH)
    return "".join(label_text(part, 1, size) for part in objects_of(mask, 1).masks)


def yolo(source: Path, text: str, yaml: str | None = "names: [bird, fish]\n") -> None:
    save_photo(source / "images" / "train" / "1.jpg")
    (source / "labels" / "train").mkdir(parents=True)
    (source / "labels" / "train" / "1.txt").write_text(text)
    if yaml is not None:
        (source / "data.yaml").write_text(yaml)


@pytest.mark.parametrize(
    ("yaml", "folder"),
    [
        ("names: [bird, fish]\ntrain: ../train/images\n", "fish"),
        ("names:\n  0: bird\n  1: fish\n", "fish"),
        (None, "1"),
    ],
)
def test_yolo_reads_what_our_export_writes(source: Path, yaml: str | None, folder: str) -> None:
    yolo(source, lines(ELL | SQUARE), yaml)
    assert (only_mask(prepare(source), folder) == ELL | SQUARE).all()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 0.5 0.5 0.2 0.2\n", "1 boxes, which outline nothing, left out"),
        ("1 0.1 0.1 nan 0.2 0.3 0.3\n", "labels/train/1.txt: line 1: holds a number"),
        ("1 0.1 0.1 0.9 0.2 0.3 5\n", "line 1: holds a point outside 0 to 1"),
        ("1 0.1 0.1 0.9 0.2 0.3\n1 x\n", "line 2: holds words where numbers belong"),
        ("1 0.1 0.1 0.9 0.2 0.3 0.4 0.5\n", "line 1: holds 7 numbers after the class"),
        ("1e99 0.1 0.1 0.9 0.2 0.3 0.3 0.4\n1.5 0 0 0 1 1 1\n", "line 2: holds a number that"),
    ],
)
def test_yolo_refuses_by_name(source: Path, text: str, problem: str) -> None:
    yolo(source, text)
    assert problem in refused(source)


def test_a_broken_yaml_is_told(source: Path) -> None:
    yolo(source, lines(ELL), "names: [bird, fish\n")
    assert "data.yaml: not valid YAML" in refused(source, "--from", "yolo")


def test_mvtec_has_a_category_for_each_defect(source: Path) -> None:
    for number, defect in enumerate(("broken_large", "scratch")):
        save_photo(source / "test" / defect / "000.png", number)
        save_mask(source / "ground_truth" / defect / "000_mask.png", (ELL, SQUARE)[number])
    save_photo(source / "test" / "good" / "000.png", 5)
    save_photo(source / "train" / "good" / "000.png", 6)
    dataset = prepare(source)
    assert (only_mask(dataset, "broken_large") == ELL).all()
    assert (only_mask(dataset, "scratch") == SQUARE).all()
    assert [*pairs_of(dataset, "scratch")] == ["000"]


def test_mvtec_of_several_objects_names_both(source: Path) -> None:
    for seed, thing in enumerate(("bottle", "metal_nut")):
        save_photo(source / thing / "test" / "scratch" / "000.png", seed)
        save_mask(source / thing / "ground_truth" / "scratch" / "000_mask.png")
    folders = {path.name for path in prepare(source).iterdir() if path.is_dir()}
    assert folders == {"scratch_bottle", "scratch_metal_nut", "sheets"}
    only_scratches = prepare(
        source,
        *("--category", "scratch bottle=scratch", "scratch metal nut=scratch"),
        target=source.parent / "both",
    )
    assert len(masks_of(only_scratches, "scratch")) == 2

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.preparation.made_sources import (
    CORNERS,
    ELL,
    HEIGHT,
    SQUARE,
    WIDTH,
    masks_of,
    only_mask,
    prepare,
    refused,
    save_mask,
    save_photo,
    write_json,
)


def brush(mask: Any) -> list[int]:
    """Label Studio's stream of bits: each run of equal RGBA values with an 18-bit count."""
    values = np.repeat((mask * 255).astype(np.uint8).ravel(), 4)
    bits = f"{values.size:032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1)]
    for start, end in zip(starts, [*starts[1:], values.size], strict=True):
        bits += "1" + "11" + f"{end - start - 1:016b}" + f"{values[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def size(**changes: Any) -> dict[str, Any]:
    return {"original_width": WIDTH, "original_height": HEIGHT, **changes}


def stroke(mask: Any = ELL, label: str = "fish", **keys: Any) -> dict[str, Any]:
    value = {"format": "rle", "rle": brush(mask), "brushlabels": [label]}
    return {"type": "brushlabels", "value": value, **size(), **keys}


def outline(points: Any = None) -> dict[str, Any]:
    percent = (
        [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in CORNERS] if points is None else points
    )
    value = {"points": percent, "closed": True, "polygonlabels": ["fish"]}
    return {"type": "polygonlabels", "value": value, **size()}


def task(*results: Any, image: Any = "/data/upload/1/61148fa2-1.jpg", number: int = 3) -> Any:
    return {
        "id": number,
        "data": {"image": image},
        "annotations": [
            {"id": 1, "was_cancelled": True, "result": [stroke(SQUARE)]},
            {"id": 2, "was_cancelled": False, "result": list(results)},
        ],
    }


@pytest.mark.parametrize("result", [stroke(), outline()], ids=["brush", "polygon"])
def test_json_pixel_by_pixel(source: Path, result: dict[str, Any]) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "project.json", [task(result)])
    assert (only_mask(prepare(source)) == ELL).all()


def test_an_ellipse_and_a_box(source: Path) -> None:
    save_photo(source / "1.jpg")
    value = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "ellipselabels": ["fish"]}
    box = {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["fish"]}, **size()}
    write_json(source / "a.json", [task({"type": "ellipselabels", "value": value, **size()}, box)])
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    disc = ((rows - 12) / 6) ** 2 + ((columns - 16) / 8) ** 2 <= 1
    assert (only_mask(prepare(source)) != disc).sum() <= 4


def test_json_min(source: Path) -> None:
    save_photo(source / "1.jpg")
    flat = {"format": "rle", "rle": brush(ELL), "brushlabels": ["fish"], **size()}
    minimal = {"id": 1, "image": "/data/upload/1/61148fa2-1.jpg", "tag": [flat], "annotator": 1}
    write_json(source / "a.json", [{**minimal, "annotation_id": 4}])
    assert (only_mask(prepare(source)) == ELL).all()


@pytest.mark.parametrize(
    "image",
    [
        "/data/upload/1/61148fa2-1.jpg",
        "/data/local-files/?d=photos/1.jpg",
        "s3://bucket/photos/1.jpg",
        "https://host/1.jpg?X-Amz-Signature=abc",
        "1.jpg",
    ],
)
def test_addresses_of_photos(source: Path, image: str) -> None:
    save_photo(source / "photos" / "1.jpg")
    write_json(source / "a.json", [task(stroke(), image=image)])
    assert (only_mask(prepare(source)) == ELL).all()


def test_the_uploads_own_name_comes_first(source: Path) -> None:
    save_photo(source / "61148fa2-1.jpg")
    save_photo(source / "1.jpg", 1)
    write_json(source / "a.json", [task(stroke())])
    assert (prepare(source) / "fish" / "61148fa2-1.jpg").exists()


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (stroke(original_width=99), "was annotated at 99 x 24 px and is 32 x 24"),
        (stroke(ELL[:-1]), "a brush mask holds 2944 values, 32 x 24 px take 3072"),
        (stroke(original_width=None), "its original_width is None"),
        ({**stroke(), "value": {"rle": [1, 2, 3], "brushlabels": ["fish"]}}, "ends too early"),
        ({**stroke(), "value": {"rle": [1, 999], "brushlabels": ["fish"]}}, "no list of bytes"),
        ({**stroke(), "value": {"rle": [1], "brushlabels": [7]}}, "has a label that is no text"),
        (outline([[0, 0], [1e9, 0], [1, 1]]), "a polygon reaches"),
        (outline([[0, 0]]), "a polygon has no list of three"),
    ],
)
def test_hostile_files_are_refused_by_name(source: Path, result: Any, problem: str) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "a.json", [task(result)])
    told = refused(source)
    assert problem in told
    assert "a.json" in told


def test_a_path_out_of_the_source(source: Path) -> None:
    save_photo(source / "1.jpg")
    save_photo(source.parent / "secret.jpg")
    write_json(source / "a.json", [task(stroke(), image="/data/local-files/?d=../secret.jpg")])
    assert "a path out of the source folder" in refused(source)


PNG = "task-{}-annotation-{}-by-1-tag-{}-0.png"


def test_row_35_one_photo_and_its_png(source: Path) -> None:
    save_photo(source / "61148fa2-frame_0190.jpg")
    save_mask(source / PNG.format(3, 3, "fish"))
    assert (only_mask(prepare(source)) == ELL).all()


def test_pngs_of_several_tasks_go_by_the_json(source: Path) -> None:
    for number in (1, 2):
        save_photo(source / f"{number}.jpg", number)
    save_mask(source / "masks" / PNG.format(8, 3, "fish"), SQUARE)
    save_mask(source / "masks" / PNG.format(9, 4, "fish"), ELL)
    save_mask(source / "masks" / PNG.format(9, 4, "blue bird"), SQUARE)
    tasks = [task(image=f"/data/upload/1/61148fa2-{n}.jpg", number=10 - n) for n in (1, 2)]
    write_json(source / "project.json", tasks)
    dataset = prepare(source)
    assert [(mask == ELL).all() for mask in masks_of(dataset)] == [True, False]
    assert (masks_of(dataset)[1] == SQUARE).all()
    assert (only_mask(dataset, "blue_bird") == SQUARE).all()


def test_pngs_of_several_tasks_without_the_json_are_refused(source: Path) -> None:
    for number in (1, 2):
        save_photo(source / f"{number}.jpg", number)
        save_mask(source / PNG.format(number, number, "fish"))
    told = refused(source)
    assert "task-1-annotation-1-by-1-tag-fish-0.png" in told
    assert "named by the task, not by the photo (1.jpg, 2.jpg); export JSON" in told
    assert "1_mask.png" in told

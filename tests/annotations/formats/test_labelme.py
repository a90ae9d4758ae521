from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.preparation.made_sources import (
    ELL,
    HEIGHT,
    OUTERMOST,
    SQUARE,
    WIDTH,
    masks_of,
    only_mask,
    prepare,
    refused,
    save_photo,
    write_json,
)


def shape(points: Any = OUTERMOST, label: Any = "fish", **keys: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": "polygon", **keys}


def labelme(*shapes: dict[str, Any], photo: Any = "1.jpg", **keys: Any) -> dict[str, Any]:
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    return {"version": "5.5.0", "shapes": list(shapes), "imagePath": photo, **size, **keys}


def encoded(bits: np.ndarray[Any, Any]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(bits.astype(np.uint8) * np.uint8(255)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_a_polygon_is_drawn_through_its_pixels(source: Path) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "1.json", labelme(shape()))
    assert (only_mask(prepare(source)) == ELL).all()


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (shape([[24, 2], [29, 4]], shape_type="rectangle"), SQUARE),
        (shape([[29, 4], [24, 2]], shape_type="rectangle"), SQUARE),
        (shape([[24, 2], [29, 2], [29, 4], [24, 4]], shape_type="rectangle"), SQUARE),
        (shape([[4, 6], [20, 18]], shape_type="mask", mask=encoded(ELL[6:18, 4:20])), ELL),
    ],
    ids=["rectangle", "from below", "four corners", "mask"],
)
def test_other_shapes(source: Path, drawn: dict[str, Any], expected: Any) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "1.json", labelme(drawn))
    assert (only_mask(prepare(source)) == expected).all()


def test_a_circle(source: Path) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "1.json", labelme(shape([[12.5, 12.5], [18, 12.5]], shape_type="circle")))
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    disc = np.hypot(rows - 12.5, columns - 12.5) <= 5.5
    assert (only_mask(prepare(source)) != disc).mean() < 0.03


def test_labels_of_its_own_mean_background_and_ignore(source: Path) -> None:
    save_photo(source / "1.jpg")
    box = {"shape_type": "rectangle"}
    write_json(
        source / "1.json",
        labelme(
            shape(),
            shape([[24, 2], [29, 4]], "__ignore__", **box),
            shape([[0, 0], [2, 2]], "_background_", **box),
        ),
    )
    assert (only_mask(prepare(source)) == (ELL | SQUARE * np.uint8(255))).all()


def test_row_33_two_photos_and_a_photo_without_json(source: Path) -> None:
    for number in (1, 2, 3):
        save_photo(source / f"{number}.jpg", number)
    for number in (1, 2):
        write_json(source / f"{number}.json", labelme(shape(), photo=f"{number}.jpg"))
    assert [(mask == ELL).all() for mask in masks_of(prepare(source))] == [True, True]


@pytest.mark.parametrize("photo", ["1.jpg", "..\\photos\\1.jpg", "old name.jpg", None])
def test_the_photo_is_found_after_moving_and_renaming(source: Path, photo: Any) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "1.json", labelme(shape(), photo=photo))
    assert (only_mask(prepare(source)) == ELL).all()


def test_json_in_a_folder_of_its_own(source: Path) -> None:
    save_photo(source / "photos" / "1.jpg")
    write_json(source / "json" / "1.json", labelme(shape(), photo="../photos/1.jpg"))
    assert (only_mask(prepare(source)) == ELL).all()


def test_several_labels_at_once(source: Path) -> None:
    save_photo(source / "1.jpg")
    square = shape([[24, 2], [29, 4]], "bird", shape_type="rectangle")
    write_json(source / "1.json", labelme(shape(), square))
    dataset = prepare(source)
    assert (only_mask(dataset) == ELL).all() and (only_mask(dataset, "bird") == SQUARE).all()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (labelme(shape(), photo="../../secret.jpg"), "names ../../secret.jpg, a path out of"),
        (labelme(shape([[0, 0], [1e9, 0], [1, 1]])), "a polygon reaches x 1e+09"),
        (labelme(shape([[0, 0], [1, None], [1, 1]])), "no finite number"),
        (labelme(shape(None)), "shape 1 (fish): a polygon"),
        (labelme(shape(label=None)), "shape 1: has no label"),
        (labelme(shape(), imageWidth=99), "was annotated at 99 x 24 px and is 32 x 24"),
        (labelme(shape([[0, 0], [1, 1]], shape_type="mask", mask="?")), "no base64 text"),
        (labelme(shape([[0, 0], [1, 1]], shape_type="mask", mask="QUJD")), "is no PNG"),
        (
            labelme(shape([[9, 9], [99, 99]], shape_type="mask", mask=encoded(ELL))),
            "a mask at x 9 to 41",
        ),
    ],
)
def test_hostile_files_are_refused_by_name(source: Path, content: Any, problem: str) -> None:
    save_photo(source / "a.jpg")
    save_photo(source / "1.jpg")
    save_photo(source.parent / "secret.jpg")
    write_json(source / ("b.json" if "secret" in problem else "1.json"), content)
    assert problem in refused(source)


def test_points_and_lines_outline_nothing(source: Path) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "1.json", labelme(shape([[1, 1]], shape_type="point")))
    assert "shapes of type point left out" in refused(source)

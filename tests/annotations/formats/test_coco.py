from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference

from tests.preparation.made_sources import (
    CORNERS,
    ELL,
    HEIGHT,
    SQUARE,
    WIDTH,
    masks_of,
    only_mask,
    pairs_of,
    prepare,
    refused,
    save_photo,
    write_json,
)

POLYGON = [[value for point in CORNERS for value in point]]
HUGE = [[0, 0, 1e9, 0, 1e9, 1e9]]
ENCODED = reference.encode(np.asfortranarray(ELL))
COMPRESSED = {"size": ENCODED["size"], "counts": ENCODED["counts"].decode()}


def plain_runs(mask: Any) -> dict[str, Any]:
    """COCO's uncompressed RLE: down the columns, background first."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": counts if flat[0] == 0 else [0, *counts]}


def coco(segmentation: Any = POLYGON, file_name: str = "1.jpg", **keys: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": file_name, "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "fish"}, {"id": 4, "name": "bird"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "segmentation": segmentation, **keys}
        ],
    }


@pytest.mark.parametrize(
    "segmentation",
    [POLYGON, POLYGON[0], COMPRESSED, plain_runs(ELL)],
    ids=["polygon", "polygon without the list around it", "compressed", "uncompressed"],
)
def test_masks_pixel_by_pixel(source: Path, segmentation: Any) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "instances.json", coco(segmentation))
    assert (only_mask(prepare(source)) == ELL).all()


def test_random_masks_as_the_reference_compresses_them(source: Path) -> None:
    random = np.random.default_rng(0)
    content = coco()
    content["annotations"], content["images"] = [], []
    masks = []
    for number in range(5):
        mask = (random.random((HEIGHT, WIDTH)) < 0.3).astype(np.uint8)
        encoded = reference.encode(np.asfortranarray(mask))
        save_photo(source / f"{number}.jpg", number)
        content["images"].append({"id": number, "file_name": f"{number}.jpg"})
        segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        content["annotations"].append(
            {"id": number, "image_id": number, "category_id": 3, "segmentation": segmentation}
        )
        masks.append(mask)
    write_json(source / "instances.json", content)
    assert (np.array(masks_of(prepare(source))) == np.array(masks)).all()


def test_polygons_differ_from_the_reference_at_most_along_the_line(source: Path) -> None:
    points = (np.random.default_rng(1).random((7, 2)) * [WIDTH, HEIGHT]).round(2)
    save_photo(source / "1.jpg")
    write_json(source / "a.json", coco([points.ravel().tolist()]))
    theirs = reference.decode(
        reference.merge(reference.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH))
    )
    ours = only_mask(prepare(source))
    assert (ours != theirs).mean() < 0.03 and (ours & theirs).sum() > 50


def test_several_annotations_are_one_mask_and_a_crowd_is_ignored(source: Path) -> None:
    save_photo(source / "1.jpg")
    content = coco()
    other = [[24, 2, 30, 2, 30, 5, 24, 5]]
    content["annotations"].append({**content["annotations"][0], "id": 2, "segmentation": other})
    crowd = {**plain_runs(np.roll(SQUARE, 8, axis=0)), "size": [HEIGHT, WIDTH]}
    content["annotations"].append(
        {**content["annotations"][0], "id": 3, "segmentation": crowd, "iscrowd": 1}
    )
    write_json(source / "a.json", content)
    expected = ELL | SQUARE | np.roll(SQUARE, 8, axis=0) * np.uint8(255)
    assert (only_mask(prepare(source)) == expected).all()


def test_roboflow_has_a_json_in_each_split(source: Path) -> None:
    for number, split in enumerate(("train", "valid")):
        name = f"{number}_jpg.rf.0123456789abcdef.jpg"
        save_photo(source / split / name, number)
        write_json(source / split / "_annotations.coco.json", coco(file_name=name))
    assert [(mask == ELL).all() for mask in masks_of(prepare(source))] == [True, True]


@pytest.mark.parametrize(
    "file_name", ["1.jpg", "./1.jpg", "old/place/1.jpg", "C:\\data\\fish\\1.jpg", "/data/1.jpg"]
)
def test_photos_that_were_moved_are_found_by_name(source: Path, file_name: str) -> None:
    save_photo(source / "photos" / "1.jpg")
    write_json(source / "annotations" / "a.json", coco(file_name=file_name))
    assert (only_mask(prepare(source)) == ELL).all()


def test_several_categories_at_once_and_one_alone(source: Path) -> None:
    save_photo(source / "1.jpg")
    content = coco()
    bird = {**content["annotations"][0], "id": 2, "category_id": 4, "segmentation": COMPRESSED}
    content["annotations"].append(bird)
    write_json(source / "a.json", content)
    both = prepare(source)
    assert [path.name for path in sorted(both.iterdir())] == [
        "bird",
        "dataset.json",
        "fish",
        "sheets",
    ]
    alone = prepare(source, "--category", "Bird=blue bird", target=source.parent / "alone")
    assert [*pairs_of(alone, "blue_bird")] == ["1"] and not (alone / "fish").exists()


def spoiled(**changes: Any) -> dict[str, Any]:
    """A COCO JSON with some keys of its photo and annotation changed."""
    content = copy.deepcopy(coco())
    for part in ("images", "annotations"):
        content[part][0].update({k: v for k, v in changes.items() if k in content[part][0]})
    return content


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (spoiled(file_name="../../secret.jpg"), "names ../../secret.jpg, a path out of"),
        (spoiled(file_name="/etc/secret.jpg"), "names /etc/secret.jpg, a path out of"),
        (spoiled(file_name="..\\secret.jpg"), "a path out of"),
        (spoiled(file_name=["1.jpg"]), "names a photo as ['1.jpg']"),
        (spoiled(file_name="2.jpg"), "1 photo is not in the source folder (2.jpg)"),
        (spoiled(width=999), "was annotated at 999 x 24 px and is 32 x 24"),
        (spoiled(width=1e99), "its width is 1e+99"),
        (spoiled(segmentation=HUGE), "a polygon reaches x 1e+09, y 0 in a photo of 32 x 24 px"),
        (spoiled(segmentation=[[0, 0, 1, float("inf"), 1, 1]]), "Infinity is no JSON number"),
        (spoiled(segmentation=[[0, 0, 1, float("nan"), 1, 1]]), "NaN is no JSON number"),
        (spoiled(segmentation=[["x", 1, 2, 3, 4, 5]]), "annotation 1: a polygon is no list"),
        (spoiled(segmentation=[[1, 2, 3, 4]]), "annotation 1: a polygon has no list of three"),
        (spoiled(segmentation=[[0, 1] * 200_000]), "a polygon has 200000 points"),
        (spoiled(segmentation={"size": [10**5, 10**5], "counts": [1]}), "not a number of pixels"),
        (spoiled(segmentation={"size": [60000, 60000], "counts": [1]}), "60000 x 60000 px cannot"),
        (spoiled(segmentation={"size": [24, 32], "counts": [5]}), "fills 5 of 32 x 24 px"),
        (spoiled(segmentation={"size": [24, 32], "counts": [-5, 773]}), "negative or too large"),
        (spoiled(segmentation={"size": [24, 32], "counts": "\x7f\x7f"}), "COCO's counts have not"),
        (spoiled(segmentation={"size": [24, 32], "counts": "oo"}), "the middle of a count"),
        (spoiled(segmentation={"size": [25, 32], "counts": [0, 800]}), "in a photo of 32 x 24"),
        (spoiled(image_id=9), "belongs to image 9, which is not listed"),
        (spoiled(category_id=9), "has category 9, which is not listed"),
    ],
)
def test_hostile_files_are_refused_by_name(
    source: Path, content: dict[str, Any], problem: str
) -> None:
    save_photo(source / "1.jpg")
    save_photo(source.parent / "secret.jpg")
    write_json(source / "a.json", content)
    told = refused(source)
    assert problem in told
    assert "a.json" in told


def test_a_number_beyond_all_measure_is_no_point(source: Path) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "a.json", coco())
    text = (
        (source / "a.json")
        .read_text()
        .replace("[4, 6,", "[4, 1e999,")
        .replace("4, 6,", "4, 1e999,", 1)
    )
    (source / "a.json").write_text(text)
    assert "no finite number" in refused(source)


def test_boxes_alone_are_told(source: Path) -> None:
    save_photo(source / "1.jpg")
    write_json(source / "a.json", coco([], bbox=[1, 2, 3, 4]))
    assert "1 annotations without an outline (boxes) left out" in refused(source)

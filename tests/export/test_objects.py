from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aligndiff.core.errors import InputError
from aligndiff.export.formats.coco import _shape
from aligndiff.export.formats.objects import ObjectOptions, objects_of

MASK = np.array(
    [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 1],
        [0, 0, 1, 0, 0, 1],  # touches the four over a corner
        [0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
    ],
    np.uint8,
)
masks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1))
)


def test_what_touches_is_one_object_and_the_largest_comes_first() -> None:
    objects = objects_of(MASK, 1)
    assert [part.area for part in objects.masks] == [5, 2, 1]
    assert objects.specks == 0
    assert objects.masks[0].within(MASK.shape)[2, 2] == 1


def test_specks_are_left_out_but_for_the_largest_part() -> None:
    assert [part.area for part in objects_of(MASK, 2).masks] == [5, 2]
    assert objects_of(MASK, 2).specks == 1
    alone = objects_of(MASK, 1000)
    assert [part.area for part in alone.masks] == [5] and alone.specks == 2
    assert objects_of(np.zeros((3, 3), np.uint8), 1).masks == []


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(masks)
def test_objects_are_the_mask_in_parts_that_do_not_touch(mask: np.ndarray) -> None:
    parts = [part.within(mask.shape) for part in objects_of(mask, 0).masks]
    assert np.array_equal(sum(parts, np.zeros_like(mask)), mask)
    for number, part in enumerate(parts):
        around = np.zeros(tuple(np.array(mask.shape) + 2), bool)
        for dy in range(3):
            for dx in range(3):
                around[dy : dy + mask.shape[0], dx : dx + mask.shape[1]] |= part > 0
        assert not any(around[1:-1, 1:-1][other > 0].any() for other in parts[number + 1 :])


@settings(derandomize=True, deadline=None, database=None, max_examples=300)
@given(masks)
def test_pycocotools_draws_the_polygons_as_the_very_mask(mask: np.ndarray) -> None:
    from pycocotools import mask as rle

    for part in objects_of(mask, 0).masks:
        (polygon,) = _shape(part, mask.shape, polygons=True)["segmentation"]
        assert len(polygon) >= 6
        drawn = rle.decode(rle.merge(rle.frPyObjects([polygon], *mask.shape)))
        assert np.array_equal(drawn, part.within(mask.shape))


def test_a_large_mask_of_many_holes_comes_back_from_its_polygons() -> None:
    import cv2
    from pycocotools import mask as rle

    noise = np.random.default_rng(0).normal(size=(300, 3000)).astype(np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), 4) > -0.03).astype(np.uint8)
    polygons = [
        polygon
        for part in objects_of(mask, 0).masks
        for polygon in _shape(part, mask.shape, polygons=True)["segmentation"]
    ]
    drawn = rle.decode(rle.merge(rle.frPyObjects(polygons, *mask.shape)))
    assert np.array_equal(drawn, mask)


@settings(derandomize=True, deadline=None, database=None, max_examples=100)
@given(masks.filter(np.any))
def test_area_and_box_are_those_of_the_run_lengths(mask: np.ndarray) -> None:
    from pycocotools import mask as rle

    for part in objects_of(mask, 0).masks:
        shape = _shape(part, mask.shape, polygons=False)
        assert shape["area"] == rle.area(shape["segmentation"])
        assert shape["bbox"] == rle.toBbox(shape["segmentation"]).tolist()
        assert np.array_equal(rle.decode(shape["segmentation"]), part.within(mask.shape))


def test_the_least_area_is_a_number_of_pixels() -> None:
    with pytest.raises(InputError, match="--min_object_area: must be 0 or more px, is -1"):
        ObjectOptions(-1)

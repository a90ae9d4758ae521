from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aligndiff.export.formats.objects import objects_of
from aligndiff.export.formats.polygons import polygons_of
from aligndiff.export.formats.yolo import label_text


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [polygon.astype(np.int32)], 1)
    return mask


@settings(derandomize=True, deadline=None, database=None, max_examples=300)
@given(st.data())
def test_any_mask_comes_back_pixel_by_pixel(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    mask = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 1)))
    assert np.array_equal(filled(polygons_of(mask), shape), mask)


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_of_many_holes_comes_back_as_it_is_written(seed: int) -> None:
    """Also from the text of a label, at a size at which six digits could be too few."""
    noise = np.random.default_rng(seed).normal(size=(300, 3000)).astype(np.float32)
    mask = (cv2.GaussianBlur(noise, (0, 0), 4) > -0.03).astype(np.uint8)
    lines = [label_text(part, 7, mask.shape) for part in objects_of(mask, 0).masks]
    rows = [np.array(line.split()[1:], np.float32) for line in lines]
    size = np.array(mask.shape[::-1], np.float32)
    assert np.array_equal(filled([row.reshape(-1, 2) * size for row in rows], mask.shape), mask)


def test_a_ring_is_one_line_that_runs_around_its_hole_too() -> None:
    mask = np.ones((5, 6), np.uint8)
    mask[2, 2:4] = 0
    (polygon,) = polygons_of(mask)
    assert len(polygons_of(np.ones((5, 6), np.uint8))[0]) == 4  # no needless points
    corners = {(0, 0), (0, 4), (5, 4), (5, 0)}
    around = {(1, 2), (2, 1), (3, 1), (4, 2), (3, 3), (2, 3)}
    assert {tuple(point) for point in polygon} == corners | around | {(0, 2)}  # the cut's end


def test_a_label_holds_the_middle_of_pixels() -> None:
    mask = np.zeros((4, 8), np.uint8)
    mask[1, 3] = 1
    (part,) = objects_of(mask, 1).masks
    assert label_text(part, 5, mask.shape) == "5" + " 0.437500 0.375000" * 3 + "\n"

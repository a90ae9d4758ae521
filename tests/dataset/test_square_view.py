"""The square cut around the object: nothing squeezed, nothing of the object lost."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.dataset.square_view import square_view
from aligndiff.dataset.support import SupportPair


def pair(height: int, width: int, top: int, left: int, bottom: int, right: int) -> SupportPair:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return SupportPair("1", image, mask)


def test_square_photos_stay_as_they_are() -> None:
    whole = pair(40, 40, 5, 5, 9, 9)
    assert square_view(whole) is whole


@pytest.mark.parametrize(("left", "first"), [(0, 0), (3, 0), (100, 90), (180, 160), (150, 140)])
def test_a_panorama_is_cut_around_the_object(left: int, first: int) -> None:
    whole = pair(40, 200, 10, left, 30, left + 20)
    view = square_view(whole)
    assert np.array_equal(view.image, whole.image[:, first : first + 40])
    assert np.array_equal(view.mask, whole.mask[:, first : first + 40])


def test_a_tall_photo() -> None:
    whole = pair(90, 30, 60, 5, 70, 25)
    view = square_view(whole)
    assert np.array_equal(view.image, whole.image[50:80])
    assert (view.mask == 1).sum() == (whole.mask == 1).sum()


def test_an_object_longer_than_the_photo_is_high_is_kept_whole() -> None:
    whole = pair(40, 200, 10, 50, 30, 150)
    view = square_view(whole)
    assert view.mask.shape == (120, 120) and view.image.shape == (120, 120, 3)
    assert (view.mask == 1).sum() == (whole.mask == 1).sum()
    # What lies beyond the photo is neither object nor background.
    assert (view.mask[:40] == 255).all() and (view.mask[80:] == 255).all()
    assert np.array_equal(view.image[40:80], whole.image[:, 40:160])
    assert (view.image[:40] == whole.image[0, 40:160]).all()

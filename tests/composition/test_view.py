"""Views of a background and of a pair, of the sides that scenes have."""

from __future__ import annotations

import numpy as np

from aligndiff.composition.paste import Composite
from aligndiff.composition.recipe import Interval, SceneRecipe
from aligndiff.composition.view import view_of, whole_view


def test_a_view_has_the_scenes_size_and_keeps_the_form() -> None:
    """A circle stays one: rows and columns are scaled alike."""
    rows, columns = np.mgrid[:100, :200]
    disc = ((rows - 50) ** 2 + (columns - 100) ** 2 < 45**2).astype(np.uint8) * 255
    image = disc[..., None].repeat(3, axis=2)
    whole = SceneRecipe(view=Interval(1.0, 1.0), flip=0.0)
    for seed in range(10):
        view = view_of(image, (50, 50), np.random.default_rng(seed), whole)
        assert view.shape == (50, 50, 3)
        assert np.count_nonzero(view[25, :, 0] > 128) <= 46
        assert 44 <= np.count_nonzero(view[..., 0] > 128, axis=0).max() <= 46


def test_a_pair_of_another_form_is_seen_around_its_object() -> None:
    mask = np.zeros((40, 120), dtype=np.uint8)
    mask[10:30, 90:110] = 1
    image = mask[..., None].repeat(3, axis=2) * np.uint8(200)
    view = whole_view(Composite(image, mask), (40, 40))
    rows, columns = np.nonzero(view.mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 10, 29)
    assert ((view.image[..., 0] == 200) == (view.mask == 1)).all()


def test_a_pair_of_the_same_form_is_seen_whole() -> None:
    mask = np.zeros((30, 60), dtype=np.uint8)
    mask[2:9, 3:20] = 1
    pair = Composite(mask[..., None].repeat(3, axis=2), mask)
    assert (whole_view(pair, (30, 60)).mask == mask).all()

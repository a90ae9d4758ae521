"""Backgrounds: a user's photos, annotated or not, and what the heatmap of a drawn one outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.scenes.backgrounds import check_photos, cut_by_heat, read_backgrounds
from scripts import export_dataset


def test_a_broad_heatmap_becomes_the_outline_of_its_thing() -> None:
    rows, columns = np.mgrid[:64, :64]
    away = np.hypot(rows - 30, columns - 34)
    rng = np.random.default_rng(0)
    ground = np.full((64, 64, 3), (60, 140, 60)) + rng.integers(-9, 9, (64, 64, 3))
    image = np.where((away < 14)[..., None], (210, 60, 40), ground).astype(np.uint8)
    heatmap = (255 * np.exp(-((away / 16) ** 2))).astype(np.uint8)
    cut = cut_by_heat(image, heatmap) == 1
    assert (cut & (away < 14)).sum() / (cut | (away < 14)).sum() > 0.9
    assert ((heatmap > 80) & (away > 15)).any()  # the heatmap alone would bring ground along
    assert (cut_by_heat(image, heatmap) == cut).all()


@pytest.mark.parametrize(("layout", "more"), [("coco", []), ("voc", ["--void_width", "0"])])
def test_annotated_photos_tell_what_is_in_them(
    refined_dir: Path, layout: str, more: list[str]
) -> None:
    words = ["--dataset_dir", str(refined_dir), "--format", layout, "--categories", "fish"]
    assert export_dataset.main([*words, "--val_fraction", "0", *more]) == 0
    backgrounds = read_backgrounds([refined_dir / "exports" / layout], 64)
    assert len(backgrounds) == 6  # two entries of three refined samples
    assert all(background.shows("Fish") for background in backgrounds)
    assert not any(background.shows("albatross") for background in backgrounds)
    for background in backgrounds:
        (thing,) = background.things
        instance = thing.material.read()
        assert instance is not None and instance.mask.any()
        assert instance.image.shape[:2] == instance.mask.shape
    check_photos(backgrounds, (64, 64))


def test_a_plain_folder_has_photos_and_no_things(photos: Path) -> None:
    backgrounds = read_backgrounds([photos], 64)
    assert [background.material.name for background in backgrounds] == [
        f"photos/{number}.png" for number in range(5)
    ]
    assert not any(background.things for background in backgrounds)
    with pytest.raises(InputError, match="1 of 5 backgrounds are smaller .*/0.png"):
        check_photos(backgrounds, (73, 90))

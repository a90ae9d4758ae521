from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.annotations.backgrounds import find_backgrounds
from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_grey, write_image, write_mask


def photo(path: Path, level: int, size: tuple[int, int] = (40, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(level).integers(0, 255, (*size, 3), dtype=np.uint8)
    write_image(path, noise)


def test_photos_with_what_is_marked_in_them_are_read_reduced(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    photo(tmp_path / "sea_horse" / "1.jpg", 90)
    write_mask(tmp_path / "sea_horse" / "1.png", mask)
    (found,) = find_backgrounds(tmp_path)
    assert found.shows("Sea horse") and not found.shows("horse")
    image, (pair,) = found.read(30)
    assert image.shape == (20, 30, 3) and pair.image is image
    assert pair.mask.mean() == pytest.approx(mask.mean(), abs=0.02)


def test_photos_alone_and_drawn_ones(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "a.jpg", 90)
    photo(tmp_path / "photos" / "b.jpg", 120)
    assert [found.marked for found in find_backgrounds(tmp_path / "photos")] == [(), ()]
    photo(tmp_path / "drawn" / "beach-1" / "generated_images" / "image_0.png", 90)
    heat = tmp_path / "drawn" / "beach-1" / "attention_masks" / "image_0.png"
    heat.parent.mkdir()
    write_grey(heat, np.zeros((40, 60), np.uint8))
    (only,) = find_backgrounds(tmp_path / "drawn")  # a heatmap is no photo
    assert only.path.parent.name == "generated_images"
    assert find_backgrounds(None) == ()
    with pytest.raises(InputError, match="nowhere: no such folder; give one of photos"):
        find_backgrounds(tmp_path / "nowhere")

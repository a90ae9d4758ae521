"""Backgrounds to paste on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.dataset.images import write_image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five photos of nothing, 72 x 90 px and larger."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        rng = np.random.default_rng(50 + number)
        plain = np.full((72 + number, 90, 3), rng.integers(60, 160, 3), dtype=np.uint8)
        write_image(folder / f"{number}.png", plain + rng.integers(0, 9, plain.shape, np.uint8))
    return folder

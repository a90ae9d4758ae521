"""A folder with good support pairs and a dataset.json, for the tests of the prompt bank."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_bank(tmp_path: Path) -> Callable[..., Path]:
    """Writes dataset.json beside two good support folders, fish/ and mushroom/; returns the root.

    Other keys of the file are given by name.
    """
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    mask = np.zeros((12, 16), dtype=np.uint8)
    mask[3:9, 2:10] = 255
    for name in ("fish", "mushroom"):
        (tmp_path / name).mkdir()
        for stem in ("1", "2"):
            Image.fromarray(image).save(tmp_path / name / f"{stem}.jpg")
            Image.fromarray(mask).save(tmp_path / name / f"{stem}.png")

    def make(entries: object, **others: object) -> Path:
        bank = {"prompt_dataset": entries, **others}
        (tmp_path / "dataset.json").write_text(json.dumps(bank))
        return tmp_path

    return make

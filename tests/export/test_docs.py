"""The snippets of docs/EXPORT.md run as they stand, on exports made by the script's defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts import export_dataset

PAGE = Path(__file__).resolve().parents[2] / "docs" / "EXPORT.md"
SNIPPETS = dict(re.findall(r"\*\*(\w+)\*\*\n\n```python\n(.*?)```", PAGE.read_text(), re.S))


def test_there_is_a_snippet_for_each_format() -> None:
    assert list(SNIPPETS) == ["coco", "voc", "yolo", "fss1000", "imagefolder", "webdataset"]


@pytest.mark.parametrize("form", SNIPPETS)
def test_a_snippet_gives_an_image_and_its_mask(own, form: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    own.root.rename("my_dataset")
    export_dataset.main(["--dataset_dir", "my_dataset", "--format", form])
    if form == "imagefolder":
        import datasets

        cache = tmp_path / "cache"
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    found: dict[str, Any] = {}
    exec(SNIPPETS[form], found)
    image, mask = found["image"], found["mask"]
    assert image.dtype == np.uint8 and image.shape == (*mask.shape, 3)
    truths = [truth.copy() for truth in own.masks.values()]
    for truth in truths if form in ("coco", "yolo") else ():
        truth[-2, -3] = 0  # a speck: no object of its own
    assert any(
        truth.shape == mask.shape and np.array_equal(truth > 0, mask > 0) for truth in truths
    )

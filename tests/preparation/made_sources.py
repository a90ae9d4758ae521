"""Small sources in the formats of other tools, and what prepare_dataset makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import Uint8
from aligndiff.dataset.support import SupportPair, load_support
from scripts.prepare_dataset import main

HEIGHT, WIDTH = 24, 32
SIZE = {"height": HEIGHT, "width": WIDTH}
# An L: pixels 4 to 19 across and 6 to 17 down, without a bite of 8 x 6 at the lower right.
CORNERS = [[4, 6], [20, 6], [20, 12], [12, 12], [12, 18], [4, 18]]  # along the pixels' edges
OUTERMOST = [[4, 6], [19, 6], [19, 11], [11, 11], [11, 17], [4, 17]]  # the pixels themselves
ELL = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
ELL[6:18, 4:20] = 1
ELL[12:18, 12:20] = 0
SQUARE = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
SQUARE[2:5, 24:30] = 1


def photo(seed: int = 0) -> Uint8:
    """Noise in colours: no one takes it for a mask."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def save(path: Path, picture: Uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(suffix, "PNG")
    Image.fromarray(picture).save(path, kind, quality=95)
    return path


def save_photo(path: Path, seed: int = 0) -> Path:
    return save(path, photo(seed))


def save_mask(path: Path, mask: Uint8 = ELL) -> Path:
    return save(path, mask * np.uint8(255))


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def prepare(source: Path, *options: str, target: Path | None = None) -> Path:
    """Run the command; returns the dataset folder, beside the source."""
    target = target or source.parent / "dataset"
    assert main([str(source), "--dataset_dir", str(target), *options]) == 0
    return target


def pairs_of(dataset: Path, folder: str = "fish") -> dict[str, SupportPair]:
    return {pair.name: pair for pair in load_support(dataset / folder)}


def masks_of(dataset: Path, folder: str = "fish") -> list[Uint8]:
    return [pair.mask for pair in load_support(dataset / folder)]


def only_mask(dataset: Path, folder: str = "fish") -> Uint8:
    (mask,) = masks_of(dataset, folder)
    return mask


def refused(source: Path, *options: str, target: Path | None = None) -> str:
    """Run a command that must fail; returns its lines, and sees that nothing was written."""
    target = target or source.parent / "dataset"
    before = snapshot(source.parent)
    with pytest.raises(InputError) as caught:
        main([str(source), "--dataset_dir", str(target), *options])
    assert snapshot(source.parent) == before
    return str(caught.value)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """All that lies below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }

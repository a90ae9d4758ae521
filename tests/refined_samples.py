"""What the three steps leave of a drawn dataset, and held-out pairs to test on, for the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord

COLOURS = {"fish": (230, 120, 20), "albatross": (240, 240, 245)}  # those of tests/conftest.py
SIDE = 64


def add_refined_samples(root: Path, count: int) -> None:
    """`count` refined samples of every entry, consensus and pseudo-labels in turn, one rejected."""
    bank = load_prompt_bank(root)
    for number, entry in enumerate(bank.entries):
        place = EntryFolder(root, entry)
        place.make()
        EntryRecord(entry.id, entry.type, entry.category, "", "", "", {}, "made").write(
            place.entry_json
        )
        for index in range(count + 1):
            image, mask = draw_scene(entry.category, seed=100 * number + index)
            write_image(place.image_path(index, "png"), image)
            write_grey(place.heatmap_path(index), mask.astype(np.uint8) * np.uint8(200))
            if index == count:
                record = SampleRecord(index, 0, "rejected", "png", "made", None, 0.1, "none", "r")
            else:
                source = "pseudo_label" if index % 2 else "consensus"
                record = SampleRecord(index, 0, "refined", "png", "made", source, 0.9, None, "r")
                write_mask(place.mask_path(index), mask)
            record.write(place.record_path(index))


def draw_test_pairs(folder: Path, categories: tuple[str, ...], count: int) -> None:
    """<folder>/<category>/1.jpg, 1.png and so on."""
    for category in categories:
        (folder / category).mkdir(parents=True)
        for number in range(1, count + 1):
            image, mask = draw_scene(category, seed=9000 + number)
            write_image(folder / category / f"{number}.jpg", image)
            write_mask(folder / category / f"{number}.png", mask)


def draw_scene(category: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc of the category's colour on noise: uint8 (h, w, 3), and its mask, bool (h, w)."""
    rng = np.random.default_rng(seed)
    image = rng.integers(40, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, tuple(int(at) for at in rng.integers(24, 40, 2)), 16, 1, -1)
    image[mask > 0] = COLOURS[category]
    return image, mask > 0

"""What step 2 leaves of a drawn dataset: images of a disc in the class's colour, with heatmaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aligndiff.dataset.images import write_grey, write_image
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord
from tests.refined_samples import draw_scene


def add_synthesized_samples(root: Path, count: int) -> dict[str, list[np.ndarray]]:
    """`count` samples of every entry; returns the true masks, bool (h, w), by the entry's id."""
    bank, truths = load_prompt_bank(root), dict[str, list[np.ndarray]]()
    for number, entry in enumerate(bank.entries):
        place = EntryFolder(root, entry)
        place.make()
        EntryRecord(entry.id, entry.type, entry.category, "", "", "", {}, "made").write(
            place.entry_json
        )
        for index in range(count):
            image, mask = draw_scene(entry.category, seed=100 * number + index)
            write_image(place.image_path(index, "jpg"), image)
            write_grey(place.heatmap_path(index), mask.astype(np.uint8) * np.uint8(255))
            SampleRecord(index, 0, "synthesized", "jpg", "made").write(place.record_path(index))
            truths.setdefault(entry.id, []).append(mask)
    return truths

"""Samples as steps 2 and 3 leave them, small and of known content, for whoever reads them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord

SIDE = 64
# One of each outcome, then more of consensus: status, mask source, IoU, reason.
OUTCOMES = (
    ("refined", "consensus", 0.9, None),
    ("refined", "pseudo_label", 0.55, None),
    ("rejected", None, 0.1, "the segmenter found no object"),
    ("rejected", None, None, "the image is black"),
    ("synthesized", None, None, None),
)


def make_samples(root: Path, count: int = 6) -> list[SampleRecord]:
    """`count` samples of each entry of the dataset; returns their records, in the bank's order."""
    bank = load_prompt_bank(root)
    made = []
    for number, entry in enumerate(bank.entries):
        place = EntryFolder(bank.root, entry)
        place.make()
        settings = {"num_inference_steps": 20, "scheduler": "default"}
        EntryRecord(
            entry.id,
            entry.type,
            entry.category,
            entry.prompt(),
            entry.support_dir,
            "tiny",
            settings,
            "made",
        ).write(place.entry_json)
        made += [make_sample(place, index, 100 * number + index) for index in range(count)]
    return made


def make_sample(place: EntryFolder, index: int, seed: int) -> SampleRecord:
    """A disc on noise, elsewhere in each image and larger in each; its heatmap is the disc."""
    status, source, iou, reason = OUTCOMES[min(index, len(OUTCOMES)) % len(OUTCOMES)]
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    disc = np.zeros((SIDE, SIDE), np.uint8)
    centre = tuple(int(value) for value in rng.integers(20, 44, 2))
    cv2.circle(image, centre, 6 + index, (230, 120, 20), -1)
    cv2.circle(disc, centre, 6 + index, 255, -1)
    write_image(place.image_path(index, "jpg"), image)
    write_grey(place.heatmap_path(index), disc)
    if status == "refined":
        write_mask(place.mask_path(index), disc > 0)
    record = SampleRecord(
        *(index, 2**62 + seed, status, "jpg", "made", source, iou, reason, "judged"),
        likeness=None if iou is None else iou / 2,
    )
    record.write(place.record_path(index))
    return record

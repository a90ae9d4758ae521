from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.dataset.samples import stored_samples


@pytest.fixture
def bank(dataset_dir: Path) -> PromptBank:
    """The first and the last entry have samples 0 and 3 each, the last of earlier settings."""
    bank = load_prompt_bank(dataset_dir)
    for entry in (bank.entries[2], bank.entries[0]):
        place = EntryFolder(bank.root, entry)
        made_with = EntryRecord(entry.id, "text", entry.category, "a", "fish", "m", {}, "f")
        place.make()
        made_with.write(place.entry_json)
        for index in (3, 0):
            record = SampleRecord(index, 7, "refined", "png", "f", "consensus", 0.9, None, "r")
            write_image(place.image_path(index, "png"), np.full((4, 6, 3), index, np.uint8))
            write_grey(place.heatmap_path(index), np.full((4, 6), 100 + index, np.uint8))
            write_mask(place.mask_path(index), np.eye(4, 6, dtype=bool))
            record.write(place.record_path(index))
    replace(record, index=1, fingerprint="other").write(place.record_path(1))
    return bank


def test_samples_come_in_the_banks_order_with_their_files(bank: PromptBank) -> None:
    samples = list(stored_samples(bank))
    ids = [entry.id for entry in bank.entries]
    assert [sample.name for sample in samples] == [
        f"{ids[entry]}_{index:06d}" for entry in (0, 2) for index in (0, 3)
    ]
    last = samples[-1]
    assert last.category == "albatross" and last.record.mask_source == "consensus"
    assert last.read_image().shape == (4, 6, 3) and (last.read_image() == 3).all()
    assert (last.read_heatmap() == 103).all()
    assert np.array_equal(last.read_mask(), np.eye(4, 6, dtype=bool))


def test_a_record_of_another_sample_is_named(bank: PromptBank) -> None:
    place = EntryFolder(bank.root, bank.entries[0])
    place.record_path(0).rename(place.record_path(5))
    with pytest.raises(InputError, match="000005.json: its index is 0; remove the file"):
        list(stored_samples(bank))

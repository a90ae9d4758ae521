from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.masks import read_mask
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.dataset.samples import (
    StoredSample,
    read_sample,
    sample_indices,
    stored_samples,
)
from aligndiff.dataset.shards import pack
from aligndiff.evaluation.mask_pairs import ONE_CLASS, find_mask_pairs
from tests.refined_samples import add_refined_samples

MASK = np.eye(4, 6, dtype=bool)


def test_masks_are_paired_by_path_and_the_first_folder_is_the_class(tmp_path: Path) -> None:
    for name in ("1", "fish/2", "fish/b/1"):
        write_mask(tmp_path / "truth" / f"{name}.png", MASK)
    for name in ("1", "fish/2", "fish/b/1", "fish/more"):
        write_mask(tmp_path / "said" / f"{name}.png", MASK)
    (tmp_path / "truth" / ".hidden.png").touch()
    (tmp_path / "truth" / "1.jpg").touch()
    found = find_mask_pairs(tmp_path / "said", tmp_path / "truth")
    assert [(pair.category, pair.name) for pair in found.pairs] == [
        (ONE_CLASS, "1"),
        ("fish", "fish/2"),
        ("fish", "fish/b/1"),
    ]
    assert [pair.predicted for pair in found.pairs] == [
        tmp_path / "said" / f"{pair.name}.png" for pair in found.pairs
    ]
    assert found.notes == ("1 masks without a true mask of the same name, left out",)


def test_a_true_mask_without_a_prediction_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "truth" / "fish").mkdir(parents=True)
    write_mask(tmp_path / "truth" / "fish" / "2.png", MASK)
    (tmp_path / "said").mkdir()
    with pytest.raises(InputError, match=r"said/fish/2.png: no such file, but .*fish/2.png is its"):
        find_mask_pairs(tmp_path / "said", tmp_path / "truth")
    with pytest.raises(InputError, match="said: has no PNG files; --truth is a folder of true"):
        find_mask_pairs(tmp_path / "truth", tmp_path / "said")
    with pytest.raises(InputError, match="nowhere: no such folder; --predicted is a folder"):
        find_mask_pairs(tmp_path / "nowhere", tmp_path / "truth")


def test_samples_of_a_dataset_are_paired_by_name_and_rejected_ones_told(
    dataset_dir: Path, tmp_path: Path
) -> None:
    entry = load_prompt_bank(dataset_dir).entries[0]
    place = EntryFolder(dataset_dir, entry)
    place.make()
    EntryRecord(entry.id, "text", "fish", "a", "fish", "m", {}, "f").write(place.entry_json)
    refined = SampleRecord(0, 7, "refined", "png", "f", "consensus", 0.9, None, "r")
    refined.write(place.record_path(0))
    replace(refined, index=2).write(place.record_path(2))
    replace(refined, index=1, status="rejected", mask_source=None).write(place.record_path(1))
    for index in (0, 1):
        write_mask(tmp_path / "truth" / f"{entry.id}_{index:06d}.png", MASK)
    found = find_mask_pairs(dataset_dir, tmp_path / "truth")
    assert [(pair.category, pair.predicted) for pair in found.pairs] == [
        ("fish", place.mask_path(0))
    ]
    assert found.notes == (
        "1 masks without a true mask of the same name, left out",
        "1 true masks of samples that step 3 gave no mask, left out",
    )
    write_mask(tmp_path / "truth" / "other.png", MASK)
    with pytest.raises(InputError, match="other.png: .* has no sample of this name; a true"):
        find_mask_pairs(dataset_dir, tmp_path / "truth")


def test_masks_of_packed_samples_are_found_in_their_tar_file(
    dataset_dir: Path, tmp_path: Path
) -> None:
    add_refined_samples(dataset_dir, 2)
    bank = load_prompt_bank(dataset_dir)
    loose = {sample.name: sample.read_mask() for sample in stored_samples(bank) if has_mask(sample)}
    (tmp_path / "truth").mkdir()
    for name, mask in loose.items():
        write_mask(tmp_path / "truth" / f"{name}.png", mask)
    place = EntryFolder(dataset_dir, bank.entries[0])
    records = [read_sample(place, index).record for index in sample_indices(place)]
    pack(place, records, 2, lambda count=1, *, status="": None)
    found = find_mask_pairs(dataset_dir, tmp_path / "truth")
    assert len(found.pairs) == len(loose) == 6
    for pair in found.pairs:
        assert np.array_equal(read_mask(pair.predicted), loose[pair.name])


def has_mask(sample: StoredSample) -> bool:
    return sample.record.status == "refined"

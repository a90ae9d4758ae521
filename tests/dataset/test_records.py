from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.records import EntryRecord, SampleRecord, is_made

SAMPLE = SampleRecord(3, 2**62 + 1, "synthesized", "jpg", "ab12")
ENTRY = EntryRecord("fish-1", "text", "fish", "a fish", "fish", "tiny", {"steps": 20}, "ab12")
AGAIN = "remove the file or run the step again with --overwrite"


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "samples" / "image_000003.json"
    refined = replace(SAMPLE, status="refined", mask_source="consensus", iou=0.9, refinement="c")
    for record in (SAMPLE, refined):
        record.write(path)
        assert SampleRecord.read(path) == record
    ENTRY.write(tmp_path / "entry.json")
    assert EntryRecord.read(tmp_path / "entry.json") == ENTRY
    assert json.loads((tmp_path / "entry.json").read_text())["settings"] == {"steps": 20}


def test_a_sample_is_made_when_its_record_has_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert SampleRecord.read_or_none(path) is None
    assert not is_made(path, "ab12")
    SAMPLE.write(path)
    assert is_made(path, "ab12")
    assert not is_made(path, "other")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seed": ...}, "not a record of this version (no seed)"),
        ({"marks": 1}, "not a record of this version (unknown marks)"),
        ({"status": "done"}, "status: Input should be 'synthesized', 'refined' or 'rejected'"),
        ({"mask_source": "model"}, "mask_source: Input should be 'consensus' or 'pseudo_label'"),
        ({"image_format": "../../a"}, "image_format '../../a' is unknown"),
        ({"iou": [1]}, "iou: Input should be a valid number"),
        (None, "is no JSON object"),
    ],
)
def test_other_files_are_no_records(
    changes: dict[str, Any] | None, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    content = None if changes is None else {**SAMPLE.to_json(), **changes}
    if content:
        content = {name: value for name, value in content.items() if value is not ...}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        SampleRecord.read(path)
    assert error.value.problems == (f"{path}: {problem}; {AGAIN}",)

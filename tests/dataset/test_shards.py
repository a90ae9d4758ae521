"""The index of packed samples: what is read from it, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import TextEntry
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.records import SampleRecord
from aligndiff.dataset.shards import load_index, packed_file, packed_sample

RECORD = SampleRecord(0, 7, "rejected", "jpg", "made", None, 0.5, "no object", "r")


def line(index: int, shard: int, **files: tuple[int, int]) -> dict[str, Any]:
    found = {"image.jpg": (512, 10), "heatmap.png": (1536, 10), "json": (2560, 10)} | files
    return {"record": RECORD.to_json() | {"index": index}, "shard": shard, "files": found}


def good_lines() -> list[Any]:
    tars = [{"bytes": 4096, "samples": count, "sha256": ""} for count in (2, 1)]
    return [{"shard_size": 2, "shards": tars}, line(0, 0), line(3, 0), line(5, 1)]


@pytest.fixture
def place(tmp_path: Path) -> EntryFolder:
    """An entry of three packed samples, 0, 3 and 5; the tar files are of zeros."""
    entry = TextEntry(type="text", category="fish", D_good_dir="fish", text="a fish")
    place = EntryFolder(tmp_path, entry)
    place.shards.mkdir(parents=True)
    for number in range(2):
        place.shard_path(number).write_bytes(bytes(4096))
    write(place, good_lines())
    return place


def write(place: EntryFolder, lines: list[Any]) -> None:
    place.shard_index.write_text("".join(json.dumps(item) + "\n" for item in lines))


def test_samples_are_found_by_their_index(place: EntryFolder) -> None:
    index = load_index(place)
    assert index is not None and list(index.samples) == [0, 3, 5]
    sample = packed_sample(place, 5)
    assert sample is not None and (sample.record.index, sample.record.iou) == (5, 0.5)
    part = packed_file(place, sample, "heatmap.png")
    assert (part.path, part.offset, part.size) == (place.shard_path(1), 1536, 10)
    assert str(part) == f"{place.shard_path(1)} ({place.entry.id}_000005.heatmap.png)"
    assert packed_sample(place, 1) is None
    with pytest.raises(InputError, match=r"000001\.tar: there is no fish-\w+_000005\.mask\.png;"):
        packed_file(place, sample, "mask.png")


def test_it_is_read_again_when_it_changes_only(place: EntryFolder) -> None:
    first = load_index(place)
    assert load_index(place) is first
    lines = good_lines()
    lines[1]["record"]["seed"] = 8
    write(place, lines)
    changed = load_index(place)
    assert changed is not None and changed.samples[0].record.seed == 8
    place.shard_index.unlink()
    assert load_index(place) is None


def test_a_folder_that_is_none_holds_nothing(place: EntryFolder) -> None:
    assert load_index(EntryFolder(place.root / "nowhere", place.entry)) is None
    file = place.root / "file"
    file.write_text("")
    assert load_index(EntryFolder(file, place.entry)) is None


def with_lines(change: Callable[[list[Any]], object]) -> list[Any]:
    lines = good_lines()
    change(lines)
    return lines


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "not an index of this version, or cut off"),
        ([[1, 2]], "not an index"),
        (["x"], "not an index"),
        (good_lines()[1:], "not an index"),
        (with_lines(lambda lines: lines[0].pop("shards")), "not an index"),
        (with_lines(lambda lines: lines[2].pop("record")), "not an index"),
        (with_lines(lambda lines: lines[2]["record"].update(image_format="../x")), "not an index"),
        (with_lines(lambda lines: lines[2]["record"].update(index="many")), "not an index"),
        (with_lines(lambda lines: lines[2]["files"].update(json=[1])), "not an index"),
        (good_lines()[:-1], "samples are missing, it was cut off or edited"),
        (good_lines()[:1], "samples are missing"),
        (good_lines() + [line(6, 1)], "samples are missing"),
        ([*good_lines()[:-1], line(3, 1)], "line of sample 3 is wrong"),
        ([*good_lines()[:-1], line(-1, 1)], "line of sample -1 is wrong"),
        ([*good_lines()[:-1], line(5, 2)], "line of sample 5 is wrong"),
        ([*good_lines()[:-1], line(5, -1)], "line of sample 5 is wrong"),
        ([*good_lines()[:-1], line(5, 1, json=(-512, 10))], "line of sample 5 is wrong"),
        ([*good_lines()[:-1], line(5, 1, json=(512, -1))], "line of sample 5 is wrong"),
        ([*good_lines()[:-1], line(5, 1, json=(512, 10**12))], "line of sample 5 is wrong"),
    ],
)
def test_what_is_no_index_is_refused_in_one_line(
    place: EntryFolder, lines: list[Any], said: str
) -> None:
    write(place, lines)
    with pytest.raises(InputError) as caught:
        load_index(place)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{place.shard_index}: ") and said in problem
    assert problem.endswith("or remove its folder and repeat steps 2 and 3")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"{", b"\n" * 3, b"[" * 10**5, b"\0" * 100])
def test_bytes_that_are_no_json(place: EntryFolder, data: bytes) -> None:
    place.shard_index.write_bytes(data)
    with pytest.raises(InputError, match=r"index\.jsonl: not an index"):
        load_index(place)

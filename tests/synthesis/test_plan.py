"""How many samples, with which seeds, for which process; what other settings mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import TextEntry
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.dataset.samples import sample_seed
from aligndiff.synthesis import plan as sample_plan
from aligndiff.synthesis.plan import (
    EntryPlan,
    Sample,
    blocks_of,
    check_settings,
    list_samples,
    new_record,
    prepare_folders,
    split_counts,
)


@pytest.fixture(autouse=True)
def dataset(tmp_path: Path) -> None:
    """Entries are made below a dataset that is there; nobody reads it here."""
    (tmp_path / "dataset.json").touch()


def entry(category: str, text: str) -> TextEntry:
    return TextEntry(type="text", category=category, D_good_dir=category, text=text)


ENTRIES = [entry("dog", f"{word} dog") for word in ("big", "old", "red")] + [entry("cat", "a cat")]


def plan(root: Path, count: int = 3, **settings: object) -> EntryPlan:
    values = {"guidance_scale": 7.5, "seed": 0, "image_format": "jpg"} | settings
    record = EntryRecord(
        entry_id=ENTRIES[0].id,
        type="text",
        category="dog",
        prompt="big dog",
        support_dir="dog",
        model="small",
        settings=values,
        fingerprint="-".join(map(str, values.values())),
    )
    return EntryPlan(EntryFolder(root, ENTRIES[0]), record, count)


def make(sample: Sample) -> None:
    """Files as the stage leaves them, and a mask as step 3 adds it."""
    place, index = sample.plan.place, sample.index
    for path in (
        place.image_path(index, "jpg"),
        place.heatmap_path(index),
        place.mask_path(index),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    new_record(sample, "jpg").write(place.record_path(index))


def files(root: Path) -> set[str]:
    others = ("entry.json", "dataset.json")
    return {path.name for path in root.rglob("*") if path.is_file() and path.name not in others}


def test_seeds_are_pinned_positive_and_all_different() -> None:
    assert sample_seed(0, "dog-12345678", 0) == 7586126247639341697
    seeds = {sample_seed(s, name, i) for s in (0, 1) for name in ("a", "b") for i in range(100)}
    assert len(seeds) == 400 and all(0 <= seed < 2**63 for seed in seeds)


def test_a_class_is_split_evenly_and_the_rest_goes_to_the_first_by_id() -> None:
    counts = split_counts(ENTRIES, per_class=11)
    dogs = sorted(e.id for e in ENTRIES if e.category == "dog")
    assert [counts[name] for name in dogs] == [4, 4, 3]
    assert counts[ENTRIES[3].id] == 11
    assert counts == split_counts(ENTRIES[::-1], per_class=11), "the order in the file is nothing"
    assert set(split_counts(ENTRIES, per_class=11, per_entry=5).values()) == {5}
    assert sorted(split_counts(ENTRIES[:3], per_class=1).values()) == [0, 0, 1]


def test_other_settings_are_named(tmp_path: Path) -> None:
    first = plan(tmp_path)
    prepare_folders([first], list_samples([first]), overwrite=False, whole=True)
    check_settings([plan(tmp_path, guidance_scale=5)])  # no sample yet: nothing to mix up
    make(list_samples([first])[0])
    check_settings([plan(tmp_path, count=50)])
    with pytest.raises(InputError) as caught:
        check_settings([plan(tmp_path, guidance_scale=5, seed=1)])
    (line,) = caught.value.problems
    assert "(guidance_scale was 7.5, now 5, seed was 0, now 1)" in line
    assert ENTRIES[0].id in line and line.endswith("--overwrite to replace the samples")


def test_a_sample_is_made_when_its_record_has_the_plans_fingerprint(tmp_path: Path) -> None:
    first, second, third = list_samples([plan(tmp_path)])
    make(first)
    make(second)
    refined = SampleRecord.read(second.plan.place.record_path(1))
    replace(refined, status="refined", mask_source="consensus", iou=0.9).write(
        second.plan.place.record_path(1)
    )
    assert (first.is_made, second.is_made, third.is_made) == (True, True, False)
    other = list_samples([plan(tmp_path, guidance_scale=5)])
    assert not other[0].is_made


def test_overwrite_removes_the_own_share_and_the_first_process_the_surplus(tmp_path: Path) -> None:
    for sample in list_samples([plan(tmp_path, 6)]):
        make(sample)
    plans = [plan(tmp_path, 4)]
    wanted = list_samples(plans)
    prepare_folders(plans, wanted[1::2], overwrite=True, whole=False)
    assert plan(tmp_path).place.indices() == [0, 2, 4, 5]
    prepare_folders(plans, wanted[::2], overwrite=True, whole=True)
    assert files(tmp_path) == set()


def test_overwrite_leaves_no_old_sample_of_an_entry_that_is_asked_for_none(tmp_path: Path) -> None:
    for sample in list_samples([plan(tmp_path, 2)]):
        make(sample)
    nothing = plan(tmp_path, 0, guidance_scale=5)
    prepare_folders([nothing], [], overwrite=True, whole=True)
    assert files(tmp_path) == set()
    check_settings([nothing])


def test_overwrite_gets_over_a_broken_entry_record(tmp_path: Path) -> None:
    broken = plan(tmp_path)
    broken.place.folder.mkdir(parents=True)
    broken.place.entry_json.write_text("{")
    prepare_folders([broken], list_samples([broken]), overwrite=True, whole=True)
    assert EntryRecord.read(broken.place.entry_json) == broken.record


@pytest.mark.parametrize("lost", ["image", "heatmap"])
def test_a_sample_that_lost_a_file_is_made_again(tmp_path: Path, lost: str) -> None:
    sample = list_samples([plan(tmp_path)])[0]
    make(sample)
    assert sample.is_made
    place = sample.plan.place
    (place.image_path(0, "jpg") if lost == "image" else place.heatmap_path(0)).unlink()
    assert not sample.is_made


def test_without_overwrite_nothing_is_removed(tmp_path: Path) -> None:
    for sample in list_samples([plan(tmp_path, 6)]):
        make(sample)
    before = files(tmp_path)
    plans = [plan(tmp_path, 4)]
    prepare_folders(plans, list_samples(plans), overwrite=False, whole=True)
    assert files(tmp_path) == before
    assert EntryRecord.read(plan(tmp_path).place.entry_json) == plan(tmp_path).record


def test_blocks_are_of_one_entry_and_cut_at_multiples_whatever_is_missing(tmp_path: Path) -> None:
    plans = [plan(tmp_path, 6), plan(tmp_path, 5, seed=1)]
    samples = list_samples(plans)
    del samples[1]

    def indices(size: int) -> list[list[int]]:
        return [[sample.index for sample in block] for block in blocks_of(samples, size)]

    assert indices(4) == [[0, 2, 3], [4, 5], [0, 1, 2, 3], [4]]
    assert indices(100) == [[0, 2, 3, 4, 5], [0, 1, 2, 3, 4]]
    assert indices(1) == [[sample.index] for sample in samples]


def test_an_overwriting_run_that_is_stopped_goes_on_without_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the first sample went, with others still there from other settings."""
    old = plan(tmp_path)
    prepare_folders([old], list_samples([old]), False, True)
    for sample in list_samples([old]):
        make(sample)
    new = plan(tmp_path, seed=1)
    discard = sample_plan.discard_sample
    fewer = plan(tmp_path, count=1, seed=2)

    def stop_at_once(place: EntryFolder, index: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_plan, "discard_sample", stop_at_once)
    with pytest.raises(KeyboardInterrupt):
        prepare_folders([fewer], list_samples([fewer]), True, True)
    with pytest.raises(InputError, match="--overwrite"):
        check_settings([fewer])  # else what is too much would stay for ever

    def stop(place: EntryFolder, index: int) -> None:
        discard(place, index)
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_plan, "discard_sample", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_folders([new], list_samples([new]), True, True)
    assert old.place.indices() == [1, 2]
    check_settings([new])
    assert not any(sample.is_made for sample in list_samples([new]))

"""Samples into tar files and back: the same bytes, whenever it is stopped and begun again."""

from __future__ import annotations

import builtins
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset import shards
from aligndiff.dataset.entries import TextEntry
from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.records import SampleRecord
from aligndiff.dataset.samples import StoredSample, read_sample, sample_indices
from aligndiff.dataset.shards import pack, remove_shards, unpack

ENTRY = TextEntry(type="text", category="Sea fish", D_good_dir="fish", text="a sea fish")
INDICES = (0, 1, 4, 7, 1234567)
REJECTED = 4
SIZE = (16, 24)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EntryFolder:
    """An entry of five loose samples, the third one rejected; the disk is not waited for."""
    monkeypatch.setattr(os, "sync", lambda: None)
    return entry_with(tmp_path / "loose", INDICES)


@pytest.fixture
def few(place: EntryFolder, tmp_path: Path) -> EntryFolder:
    """Another one, of three samples only."""
    return entry_with(tmp_path / "few", (0, REJECTED, 7))


def entry_with(root: Path, indices: Sequence[int]) -> EntryFolder:
    place = EntryFolder(root, ENTRY)
    for index in indices:
        add_sample(place, index)
    place.entry_json.write_text("{}")
    return place


def add_sample(place: EntryFolder, index: int) -> None:
    rng = np.random.default_rng(index)
    image_format = "jpg" if index % 2 else "png"
    refined = index != REJECTED
    place.folder.mkdir(parents=True, exist_ok=True)
    write_image(
        place.image_path(index, image_format), rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    )
    write_grey(place.heatmap_path(index), rng.integers(0, 256, SIZE, dtype=np.uint8))
    if refined:
        write_mask(place.mask_path(index), rng.random(SIZE) > 0.5)
    SampleRecord(
        index=index,
        seed=index + 7,
        status="refined" if refined else "rejected",
        image_format=image_format,
        fingerprint="made",
        mask_source="consensus" if refined else None,
        iou=0.1 * (index % 10),
        rejected_because=None if refined else "no object in either mask",
        refinement="refined",
    ).write(place.record_path(index))


def pack_all(place: EntryFolder, shard_size: int = 2) -> None:
    records = [sample.record for sample in samples(place)]
    pack(place, records, shard_size, lambda count=1, *, status="": None)


def samples(place: EntryFolder) -> list[StoredSample]:
    return [read_sample(place, index) for index in sample_indices(place)]


def contents(place: EntryFolder) -> list[tuple[Any, ...]]:
    """All that a reader can learn of the samples."""
    return [
        (
            sample.record,
            sample.read_image_bytes(),
            sample.read_heatmap().tobytes(),
            sample.read_mask().tobytes() if sample.record.status == "refined" else None,
        )
        for sample in samples(place)
    ]


def tree(place: EntryFolder) -> dict[str, bytes]:
    """Every file below the entry's folder; what a killed run left half-written is left out."""
    return {
        path.relative_to(place.folder).as_posix(): path.read_bytes()
        for path in place.folder.rglob("*")
        if path.is_file() and path.suffix != ".tmp"
    }


def copy_of(place: EntryFolder, name: str) -> EntryFolder:
    return EntryFolder(shutil.copytree(place.root, place.root.with_name(name)), place.entry)


def test_packed_and_unpacked_is_what_it_was(place: EntryFolder) -> None:
    before, seen = tree(place), contents(place)
    pack_all(place)
    tars = [f"shards/shard_00000{number}.tar" for number in range(3)]
    assert sorted(tree(place)) == ["entry.json", "shards/index.jsonl", *tars]
    assert [path.name for path in place.folder.iterdir() if path.is_dir()] == ["shards"]
    assert contents(place) == seen
    assert unpack(place) == 5
    assert tree(place) == before and contents(place) == seen and not place.shards.exists()
    assert unpack(place) == 0 and tree(place) == before


def test_the_tars_depend_on_the_samples_alone(place: EntryFolder) -> None:
    other = copy_of(place, "other")
    for path in other.folder.rglob("*.*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o600)
    pack_all(place)
    pack_all(other)
    assert tree(other) == tree(place)


def test_packing_again_does_nothing_and_another_number_packs_anew(place: EntryFolder) -> None:
    once = copy_of(place, "once")
    pack_all(once, 3)
    pack_all(place, 2)
    stamps = [path.stat().st_mtime_ns for path in sorted(place.shards.iterdir())]
    pack_all(place, 2)
    assert [path.stat().st_mtime_ns for path in sorted(place.shards.iterdir())] == stamps
    pack_all(place, 3)
    assert tree(place) == tree(once)


def test_webdataset_reads_the_same_pixels(place: EntryFolder) -> None:
    import webdataset

    loose = copy_of(place, "kept")
    pack_all(place)
    urls = [str(path) for path in sorted(place.shards.glob("*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in found] == [f"{ENTRY.id}_{i:06d}" for i in INDICES]
    for theirs, ours in zip(found, samples(loose), strict=True):
        index = ours.record.index
        assert np.array_equal(theirs[f"image.{ours.record.image_format}"], ours.read_image())
        assert np.array_equal(theirs["heatmap.png"][..., 0], ours.read_heatmap())
        assert ("mask.png" in theirs) == (index != REJECTED)
        if index != REJECTED:
            assert np.array_equal(theirs["mask.png"][..., 1], ours.read_mask() * np.uint8(255))
        assert theirs["json"] == json.loads(loose.record_path(index).read_text())


def test_a_sample_is_read_without_the_rest_of_its_tar(place: EntryFolder) -> None:
    seen = contents(place)
    pack_all(place, 5)
    wanted = read_sample(place, 7)
    assert wanted.packed is not None
    kept = [slice(at, at + size) for at, size in wanted.packed.files.values()]
    whole = place.shard_path(0).read_bytes()
    blank = bytearray(len(whole))
    for part in kept:
        blank[part] = whole[part]
    place.shard_path(0).write_bytes(blank)
    assert wanted.read_image_bytes() == seen[3][1]
    assert wanted.read_mask().tobytes() == seen[3][3]


def test_loose_samples_beside_packed_ones_belong_to_the_entry(place: EntryFolder) -> None:
    pack_all(place)
    add_sample(place, 2)
    assert sample_indices(place) == [0, 1, 2, 4, 7, 1234567]
    assert [bool(sample.packed) for sample in samples(place)] == [True, True, False] + [True] * 3
    unpack(place)
    assert place.indices() == [0, 1, 2, 4, 7, 1234567]


def test_removing_takes_all_that_is_packed(place: EntryFolder) -> None:
    pack_all(place)
    remove_shards(place)
    assert tree(place) == {"entry.json": b"{}"} and sample_indices(place) == []
    remove_shards(place)


def test_a_loose_file_that_is_gone_leaves_all_loose(place: EntryFolder) -> None:
    place.heatmap_path(7).unlink()
    before = tree(place)
    with pytest.raises(InputError, match=r"attention_masks/image_000007\.png: no such file"):
        pack_all(place, 5)
    assert tree(place) == before


# Kills


class Killed(BaseException):
    """Like SIGKILL: nothing of the program happens any more."""


@contextmanager
def killed_after(operations: int) -> Iterator[Callable[[], int]]:
    """Let so many changes of the file system happen, then none; yields their number so far."""
    count = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **options: Any) -> Any:
            nonlocal count
            if change is open_file and "w" not in (args[1:2] or ["r"])[0]:
                return change(*args, **options)
            if count == operations:
                raise Killed
            count += 1
            return change(*args, **options)

        return changed

    open_file = builtins.open
    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink", "rmdir", "chmod", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(builtins, "open", counted(open_file))
        patch.setattr(os, "getpid", lambda: 10**6 + operations)  # every run is another process
        yield lambda: count


def pack_by_two(place: EntryFolder) -> None:
    pack_all(place, 2)


def pack_by_one(place: EntryFolder) -> None:
    pack_all(place, 1)


Command = Callable[[EntryFolder], None]


@pytest.mark.parametrize(
    ("before", "killed", "then"),
    [
        (unpack, pack_by_two, pack_by_two),
        (unpack, pack_by_two, pack_by_one),
        (unpack, pack_by_two, unpack),
        (pack_by_two, unpack, unpack),
        (pack_by_two, unpack, pack_by_two),
        (pack_by_two, pack_by_one, pack_by_one),
        (pack_by_two, pack_by_one, pack_by_two),
        (pack_by_two, pack_by_one, unpack),
    ],
)
def test_whatever_is_killed_nothing_is_lost_and_the_next_run_ends_alike(
    few: EntryFolder, before: Command, killed: Command, then: Command
) -> None:
    """Kill a command before each of its changes in turn; then run the same, or another one."""
    seen = contents(few)
    before(few)
    aim = copy_of(few, "aim")
    then(aim)
    ended, changes = False, -1
    while not ended:
        changes += 1
        victim = copy_of(few, f"victim_{changes}")
        try:
            with killed_after(changes):
                killed(victim)
            ended = True
        except Killed:
            pass
        assert contents(victim) == seen, f"after {changes} changes"
        then(victim)
        assert tree(victim) == tree(aim), f"after {changes} changes"
        assert contents(victim) == seen
        assert then is unpack or not list(victim.folder.rglob(".*.tmp"))
    assert changes > 20, "every change had its turn"


def test_a_whole_tar_is_not_written_again_and_a_stale_one_is(place: EntryFolder) -> None:
    aim = copy_of(place, "aim")
    pack_all(aim)
    other = copy_of(place, "half")
    with pytest.raises(Killed), killed_after(13):
        pack_all(other)
    assert not other.shard_index.exists()
    tars = sorted(other.shards.glob("*.tar"))
    assert [path.name for path in tars] == ["shard_000000.tar", "shard_000001.tar"]
    tars[1].write_bytes(tars[1].read_bytes()[:-1] + b"x")
    kept, stale = (path.stat().st_ino for path in tars)
    pack_all(other)
    assert (tars[0].stat().st_ino == kept, tars[1].stat().st_ino == stale) == (True, False)
    assert tree(other) == tree(aim)


def test_the_copy_is_on_the_disk_before_the_original_goes(
    place: EntryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def sync() -> None:
        happened.append("sync")

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if os.path.exists(path):
            happened.append(f"remove {path.suffix}")
            os.unlink(path)

    monkeypatch.setattr(os, "sync", sync)
    monkeypatch.setattr(Path, "unlink", unlink)
    pack_all(place, 5)
    assert happened[0] == "sync" and len(happened) == 1 + 19
    happened.clear()
    unpack(place)
    assert happened == ["sync", "remove .jsonl", "remove .tar"]


# What is broken


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-600])


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "is missing, and samples were packed into it"),
        (cut, r"has \d+ bytes, not the \d+ packed into it"),
    ],
)
def test_a_tar_that_is_gone_or_cut_off_is_named(
    place: EntryFolder, harm: Callable[[Path], None], said: str
) -> None:
    pack_all(place)
    harm(place.shard_path(1))
    shards._read.cache_clear()  # as in the next run
    before = tree(place)
    for use in (samples, unpack, pack_all):
        with pytest.raises(InputError, match=rf"shard_000001\.tar: {said}; put a whole copy"):
            use(place)
    assert tree(place) == before
    remove_shards(place)  # as step 2 does with --overwrite


def test_a_damaged_tar_is_not_unpacked(place: EntryFolder) -> None:
    pack_all(place)
    damage(place.shard_path(2))
    before = tree(place)
    with pytest.raises(InputError, match=r"shard_000002\.tar: is gone or damaged; put a whole"):
        unpack(place)
    assert tree(place) == before

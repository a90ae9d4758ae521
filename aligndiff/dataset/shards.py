"""Packed samples: what the tar files of an entry hold, as their index tells.

Where there is an index, the samples it lists lie in the tar files, whole, and what may still lie
about of them as loose files does not count. Samples that it does not list are loose.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aligndiff.core.errors import InputError
from aligndiff.core.files import FilePart
from aligndiff.dataset.layout import EntryFolder, shard_name
from aligndiff.dataset.records import SampleRecord

AGAIN = "put a whole copy in its place, or remove its folder and repeat steps 2 and 3"


@dataclass(frozen=True)
class Shard:
    """One tar file; its number is its place in the list."""

    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class IndexHead:
    """The first line of an index."""

    shard_size: int  # samples of each tar file; the last one may have fewer
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class PackedSample:
    """One further line of an index: a sample's record, and where its files lie.

    `shard` is the number of the tar file, `files` (offset, size) in bytes by extension:
    "image.jpg" or "image.png", "heatmap.png", "mask.png" where there is a mask, "json".
    """

    record: SampleRecord
    shard: int
    files: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class ShardIndex:
    """The whole index; samples by their own index, in order."""

    head: IndexHead
    samples: Mapping[int, PackedSample]


def load_index(place: EntryFolder) -> ShardIndex | None:
    """The index of an entry, or None when it is not packed. Kept until the file changes.

    Raises InputError when it is broken, or when a tar file is missing or has another size.
    """
    path = place.shard_index
    try:
        status = os.stat(path)
        return _read(path, (status.st_mtime_ns, status.st_size, status.st_ino))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except InputError:
        if not path.exists():  # unpacked by another process while we looked
            return None
        raise


def packed_sample(place: EntryFolder, index: int) -> PackedSample | None:
    """One sample of a packed entry; None when it is loose, or not there at all."""
    found = load_index(place)
    return None if found is None else found.samples.get(index)


def packed_file(place: EntryFolder, sample: PackedSample, extension: str) -> FilePart:
    """A file of a packed sample. Raises InputError when it has none with this extension."""
    shard = place.shard_path(sample.shard)
    name = f"{place.sample_name(sample.record.index)}.{extension}"
    if extension not in sample.files:
        raise InputError(f"{shard}: there is no {name}; {AGAIN}")
    return FilePart(shard, *sample.files[extension], name)


@functools.lru_cache(maxsize=8)  # the steps go entry by entry
def _read(path: Path, stamp: tuple[int, int, int]) -> ShardIndex:
    """Read and check the index that had this `stamp` (time, size, inode)."""
    try:
        with open(path, "rb") as lines:
            head = _HEAD.validate_json(next(lines, b""))
            samples = [_SAMPLE.validate_json(line) for line in lines]
    except ValidationError:
        raise InputError(f"{path}: not an index of this version, or cut off; {AGAIN}") from None
    _check_samples(path, head, samples)
    for number, shard in enumerate(head.shards):
        _check_size(path.with_name(shard_name(number)), shard.bytes)
    return ShardIndex(head, {sample.record.index: sample for sample in samples})


def _check_samples(path: Path, head: IndexHead, samples: list[PackedSample]) -> None:
    """Refuse an index that contradicts itself: it was cut off, or somebody edited it."""
    counts = [0] * len(head.shards)
    last = -1
    for sample in samples:
        fits = last < sample.record.index and 0 <= sample.shard < len(counts)
        for offset, size in sample.files.values() if fits else ():
            fits &= 0 <= offset <= offset + size <= head.shards[sample.shard].bytes
        if not fits:
            raise InputError(f"{path}: its line of sample {sample.record.index} is wrong; {AGAIN}")
        last = sample.record.index
        counts[sample.shard] += 1
    if counts != [shard.samples for shard in head.shards]:
        raise InputError(f"{path}: samples are missing, it was cut off or edited; {AGAIN}")


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"{path}: is missing, and samples were packed into it; {AGAIN}") from None
    if found != size:
        raise InputError(f"{path}: has {found} bytes, not the {size} packed into it; {AGAIN}")


_HEAD = TypeAdapter(IndexHead)
_SAMPLE = TypeAdapter(PackedSample)

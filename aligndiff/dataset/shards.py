"""Packed samples: what the tar files of an entry hold, as their index tells.

Where there is an index, the samples it lists lie in the tar files, whole, and what may still lie
about of them as loose files does not count. Samples that it does not list are loose.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from aligndiff.core.errors import InputError
from aligndiff.core.files import FilePart, atomic_path, read_input, write_bytes
from aligndiff.dataset.layout import EntryFolder, shard_name
from aligndiff.dataset.records import SampleRecord

_MOST_BYTES = 512 * 2**20  # of one file of a sample, as where images are read

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
    shards = load_index(place)
    return None if shards is None else shards.samples.get(index)


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
        actual = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"{path}: is missing, and samples were packed into it; {AGAIN}") from None
    if actual != size:
        raise InputError(f"{path}: has {actual} bytes, not the {size} packed into it; {AGAIN}")


_HEAD = TypeAdapter(IndexHead)
_SAMPLE = TypeAdapter(PackedSample)


def pack(
    place: EntryFolder,
    records: Sequence[SampleRecord],
    shard_size: int,
    advance: Callable[[int], object],
) -> None:
    """Move these samples of an entry, in the order of their indices, into tar files.

    Goes on where an earlier call was stopped; an entry packed by another number is packed anew.
    The bytes of the tar files and the index depend on the samples and `shard_size` alone. `advance`
    counts samples. Raises InputError when a file cannot be read; the samples then stay loose.
    """
    index = load_index(place)
    if index is not None and index.head.shard_size != shard_size:
        unpack(place)
        index = None
    if index is None:
        _write_shards(place, records, shard_size, advance)
        os.sync()  # power may fail too: the copy is on the disk before the original goes
        index = load_index(place)
    else:
        advance(len(records))
    if index is not None:
        _remove_loose(place, index)


def unpack(place: EntryFolder) -> int:
    """Put the samples of an entry back as loose files, byte for byte, then remove its tar files.

    Returns how many samples they held, 0 when there are none. Raises InputError when a tar file is
    not what was packed.
    """
    index = load_index(place)
    if index is not None:
        for number, shard in enumerate(index.head.shards):
            path = place.shard_path(number)
            if not path.is_file() or _sha256(path) != shard.sha256:
                raise InputError(f"{path}: is gone or damaged; {AGAIN}")
        for sample in index.samples.values():
            for extension, path in _loose_files(place, sample.record).items():
                write_bytes(path, packed_file(place, sample, extension).read_bytes())
        os.sync()
    remove_shards(place)
    return 0 if index is None else len(index.samples)


def remove_shards(place: EntryFolder) -> None:
    """Remove the tar files of an entry, packed samples and all; the index goes first."""
    place.shard_index.unlink(missing_ok=True)
    _remove_strays(place, keep=0)
    with suppress(OSError):
        place.shards.rmdir()


def _loose_files(place: EntryFolder, record: SampleRecord) -> dict[str, Path]:
    """The files of a finished sample by their extension in a tar file, the record last."""
    index = record.index
    files = {
        f"image.{record.image_format}": place.image_path(index, record.image_format),
        "heatmap.png": place.heatmap_path(index),
    }
    if record.status == "refined":
        files["mask.png"] = place.mask_path(index)
    return files | {"json": place.record_path(index)}


def _write_shards(
    place: EntryFolder,
    records: Sequence[SampleRecord],
    shard_size: int,
    advance: Callable[[int], object],
) -> None:
    """Write the tar files that are not there yet, then the index."""
    groups = [records[at : at + shard_size] for at in range(0, len(records), shard_size)]
    _remove_strays(place, keep=len(groups))
    shards: list[Shard] = []
    samples: list[PackedSample] = []
    for number, group in enumerate(groups):
        path = place.shard_path(number)
        if not _holds(path, _tar(place, group)):
            with atomic_path(path) as beside, open(beside, "wb") as file:
                file.writelines(_tar(place, group))
        samples += _contents(place, number, group)
        shards.append(Shard(len(group), path.stat().st_size, _sha256(path)))
        advance(len(group))
    with atomic_path(place.shard_index) as beside, open(beside, "w", encoding="utf-8") as lines:
        index: list[IndexHead | PackedSample] = [IndexHead(shard_size, tuple(shards)), *samples]
        for line in index:
            lines.write(json.dumps(asdict(line), sort_keys=True, allow_nan=False) + "\n")


def _tar(place: EntryFolder, records: Iterable[SampleRecord]) -> Iterator[bytes]:
    """A tar file, piece by piece: the same bytes whoever makes it, and when."""
    for record in records:
        for extension, path in _loose_files(place, record).items():
            data = read_input(path, _MOST_BYTES)
            info = tarfile.TarInfo(f"{place.sample_name(record.index)}.{extension}")
            info.size = len(data)
            yield info.tobuf(tarfile.USTAR_FORMAT)
            yield data
            yield bytes(-len(data) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _holds(path: Path, pieces: Iterable[bytes]) -> bool:
    """Whether the file is there and holds just these pieces."""
    try:
        with open(path, "rb") as file:
            return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)
    except FileNotFoundError:
        return False


def _contents(
    place: EntryFolder, number: int, records: Iterable[SampleRecord]
) -> Iterator[PackedSample]:
    """Where the files of these samples lie in a tar file, as it is read back from the disk."""
    with tarfile.open(place.shard_path(number), "r:") as tar:
        parts = {member.name: (member.offset_data, member.size) for member in tar}
    for record in records:
        name = place.sample_name(record.index)
        files = {kind: parts[f"{name}.{kind}"] for kind in _loose_files(place, record)}
        yield PackedSample(record, number, files)


def _remove_loose(place: EntryFolder, index: ShardIndex) -> None:
    """Remove what is packed, then the folders that are empty: they tell that all is removed."""
    folders = place.sample_folders()
    if not any(folder.exists() for folder in folders):
        return
    for sample in index.samples.values():
        for path in _loose_files(place, sample.record).values():
            path.unlink(missing_ok=True)
    for folder in folders:
        _remove_unfinished(folder)
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()


def _remove_strays(place: EntryFolder, keep: int) -> None:
    """Remove tar files from number `keep` on, and what was being written when a run was killed."""
    kept = {place.shard_path(number) for number in range(keep)}
    for path in place.shards.glob("shard_*.tar"):
        if path not in kept:
            path.unlink(missing_ok=True)
    _remove_unfinished(place.shards)


def _remove_unfinished(folder: Path) -> None:
    """Remove what killed runs left: `atomic_path` names it so."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

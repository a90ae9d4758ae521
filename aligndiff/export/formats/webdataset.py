"""WebDataset: train-000000.tar ..., val-000000.tar ... of <name>.jpg, .mask.png and .json.

Equal samples give equal bytes: nothing of the machine or the time gets into a tar file. Samples lie
in a shuffled order that their names and the seed decide, as readers shuffle within a window only.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.files import write_json
from aligndiff.core.options import Options, option
from aligndiff.export.items import SPLITS, ExportItem, Picture
from aligndiff.export.job import ExportJob, Format
from aligndiff.export.selection import hash_of

_MODE = 0o644


@dataclass(frozen=True)
class WebdatasetOptions(Options):
    """The size of a tar file."""

    shard_size: int = option(1000, "samples in a shard", 1, 10**6)


def write_webdataset(job: ExportJob) -> None:
    """Write the job's items as tar files, and index.json, which lists them."""
    suffix, seed = job.suffix, job.selection.config.seed
    size = job.options(WebdatasetOptions).shard_size

    def write(item: ExportItem, picture: Picture) -> list[tuple[str, bytes]]:
        facts = {**item.facts(), "area": picture.area}
        return [
            (f"{item.name}.{suffix}", picture.image_file(suffix)),
            (f"{item.name}.mask.png", picture.mask_file()),
            (f"{item.name}.json", json.dumps(facts, ensure_ascii=False).encode()),
        ]

    # Not by the hash that splits: that one is low for all of a split.
    items = sorted(job.selection.items, key=lambda item: hash_of(f"order {item.name}", seed))
    shards = {split: _Shards(job.folder, split, size) for split in job.splits}
    try:
        for item, files in job.each(write, items):
            shards[job.selection.split(item)].add(files)
    finally:
        for split in shards.values():
            split.close()
    write_json(job.folder / "index.json", {name: split.index() for name, split in shards.items()})


class _Shards:
    """The tar files of one split, written one after the other."""

    def __init__(self, folder: Path, split: str, size: int) -> None:
        self._folder, self._split, self._size = folder, split, size
        self._counts: list[int] = []
        self._tar: tarfile.TarFile | None = None

    def add(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Add one sample's files, to a new tar file when the last one is full."""
        if self._tar is None or self._counts[-1] == self._size:
            self.close()
            path = self._path(len(self._counts))
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)
            self._counts.append(0)
        for name, data in files:
            header = tarfile.TarInfo(name)  # time, user and group are 0 and empty
            header.size, header.mode = len(data), _MODE
            self._tar.addfile(header, io.BytesIO(data))
        self._counts[-1] += 1

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None

    def index(self) -> list[dict[str, Any]]:
        """Each tar file with its number of samples, bytes and its SHA-256."""
        paths = [self._path(number) for number in range(len(self._counts))]
        return [
            {
                "shard": path.name,
                "samples": count,
                "bytes": path.stat().st_size,
                "sha256": _sha256(path),
            }
            for path, count in zip(paths, self._counts, strict=True)
        ]

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._split}-{number:06d}.tar"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


WEBDATASET = Format(
    name="webdataset",
    layout="WebDataset: tar files of image, `mask.png` (0 and 255) and `json`, listed in "
    "`index.json`. What a real pair ignores is background.",
    write=write_webdataset,
    options=(WebdatasetOptions,),
    data_files={split: f"{split}-*.tar" for split in SPLITS},
)

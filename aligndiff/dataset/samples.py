"""The samples of a dataset folder, as whoever uses them afterwards reads them: loose or packed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.core.files import FilePart, read_input, read_json
from aligndiff.dataset.images import IGNORE, IGNORE_GREY, Uint8, read_grey, read_image
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.dataset.records import IMAGE_FORMATS, EntryRecord, SampleRecord
from aligndiff.dataset.scenes import stored_scenes
from aligndiff.dataset.shards import PackedSample, load_index, packed_file, packed_sample

EXCLUDE_HELP = "a text file: one name of a sample to leave out a line"
_MOST_BYTES = 64 * 2**20  # a million names
SETTINGS_FILE = "refinement.json"
HEATMAP_FILE = "heatmap.json"  # what the heatmaps of an entry are, where not the published ones

_HALF = 127  # grey level; a written mask holds 0, 255 and IGNORE_GREY only


@dataclass(frozen=True)
class StoredSample:
    """One sample on disk: its record, and its files when they are asked for."""

    place: EntryFolder
    record: SampleRecord
    packed: PackedSample | None = None  # where it lies in a tar file; None for loose files

    @property
    def category(self) -> str:
        return self.place.entry.category

    @property
    def name(self) -> str:
        """Unique within the dataset folder, fit for a file name: "fish-1a2b3c4d_000007"."""
        return self.place.sample_name(self.record.index)

    @property
    def image_file(self) -> Path | FilePart:
        """Where the image lies: a file, or a part of a tar file."""
        image_format = self.record.image_format
        loose = self.place.image_path(self.record.index, image_format)
        return self._file(loose, f"image.{image_format}")

    def read_image(self) -> Uint8:
        """uint8 RGB (h, w, 3)."""
        return read_image(self.image_file)

    def read_image_bytes(self) -> bytes:
        """The image file as it is; nothing is decoded, so nothing is checked."""
        return self.image_file.read_bytes()

    def read_heatmap(self) -> Uint8:
        """uint8 (h, w): the soft coarse mask."""
        return read_grey(self._file(self.place.heatmap_path(self.record.index), "heatmap.png"))

    @property
    def mask_file(self) -> Path | FilePart:
        """The mask as it was written; only a sample whose status is "refined" has one."""
        return self._file(self.place.mask_path(self.record.index), "mask.png")

    def read_mask(self) -> NDArray[np.bool_]:
        """bool (h, w); only a sample whose status is "refined" has one."""
        return read_grey(self.mask_file) > _HALF

    def read_labels(self) -> Uint8:
        """The mask as uint8 (h, w): 0 background, 1 object, 255 where step 3 was undecided."""
        grey = read_grey(self.mask_file)
        labels = (grey > _HALF).astype(np.uint8)
        labels[grey == IGNORE_GREY] = IGNORE
        return labels

    def _file(self, loose: Path, extension: str) -> Path | FilePart:
        return packed_file(self.place, self.packed, extension) if self.packed else loose


def stored_samples(bank: PromptBank) -> Iterator[StoredSample]:
    """Every sample of the bank's entries, entry by entry, in the order of their indices.

    Samples that an earlier run made with other settings, and that step 2 has not replaced yet, are
    left out, as in step 3. Raises InputError for a record that cannot be read.
    """
    for entry in bank.entries:
        place = EntryFolder(bank.root, entry)
        made_with = EntryRecord.read_or_none(place.entry_json)
        if made_with is None:
            continue
        for index in sample_indices(place):
            sample = read_sample(place, index)
            if sample.record.fingerprint == made_with.fingerprint:
                yield sample


def sample_indices(place: EntryFolder) -> list[int]:
    """The indices of all samples of an entry, in order."""
    packed = load_index(place)
    loose = place.indices()
    packed = packed or load_index(place)  # another process may have packed them meanwhile
    return sorted({*loose, *(packed.samples if packed else ())})


def read_sample(place: EntryFolder, index: int) -> StoredSample:
    """One sample. Raises InputError when its record is broken, or another sample's."""
    packed = packed_sample(place, index)
    if packed is None:
        try:
            return StoredSample(place, _loose_record(place, index))
        except InputError:
            packed = packed_sample(place, index)  # another process may just have packed it
            if packed is None:
                raise
    return StoredSample(place, packed.record, packed)


def _loose_record(place: EntryFolder, index: int) -> SampleRecord:
    path = place.record_path(index)
    record = SampleRecord.read(path)
    if record.index != index:
        raise InputError(f"{path}: its index is {record.index}; remove the file, repeat step 2")
    return record


def read_names(path: Path) -> dict[str, int]:
    """The names of a list, with their line numbers; empty lines and # comments say nothing."""
    text = read_input(path, _MOST_BYTES).decode("utf-8-sig", "backslashreplace")
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return {name: number for number, name in lines if name and not name.startswith("#")}


def unknown_names(path: Path | None, names: dict[str, int]) -> list[str]:
    """A line for each name of a list that no sample has."""
    return [
        f"{path}: line {number}: {name}: no such sample in this dataset; remove the line"
        for name, number in names.items()
    ]


def excluded_samples(path: Path | None, roots: Iterable[Path]) -> frozenset[str]:
    """The names on the list `path` (None: no list) of samples in the dataset folders `roots`.

    Scenes may be named too. InputError tells every name that nothing there has.
    """
    if path is None:
        return frozenset()
    names = read_names(path)
    banks = [load_prompt_bank(root) for root in set(roots)]
    known = {sample.name for bank in banks for sample in stored_samples(bank)}
    known |= {scene.name for bank in banks for scene in stored_scenes(bank)}
    if unknown := {name: line for name, line in names.items() if name not in known}:
        raise InputError(unknown_names(path, unknown))
    return frozenset(names)


def sample_seed(seed: int, entry_id: str, index: int) -> int:
    """The seed of a sample's generator, 63 bits: no two samples of a data set share their noise."""
    digest = hashlib.sha256(f"{seed}/{entry_id}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") & (2**63 - 1)


def discard_sample(place: EntryFolder, index: int) -> None:
    """Remove a sample: its record first, so that a half removed sample is one to be made.

    Goes with it: what an earlier failure left.
    """
    images = [place.image_path(index, image_format) for image_format in IMAGE_FORMATS]
    for path in (
        place.record_path(index),
        place.mask_path(index),
        place.heatmap_path(index),
        *images,
        place.failure_path(index),
    ):
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class HeatmapFindings:
    """What step 2 found of heatmaps that are made from the support masks.

    `threshold`, a share of 255, is where they mean object, `support_iou` their IoU with the masks.
    """

    threshold: float
    support_iou: float


def heatmap_findings(place: EntryFolder) -> HeatmapFindings | None:
    """The findings of an entry; None where its heatmaps are the published ones."""
    path = place.folder / HEATMAP_FILE
    if not path.exists():
        return None
    contents = read_json(path)
    found = contents if isinstance(contents, dict) else {}
    threshold, iou = found.get("threshold"), found.get("support_iou")
    for value in (threshold, iou):
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(f"{path}: tells no threshold; repeat step 2 with --overwrite")
    return HeatmapFindings(float(threshold or 0), float(iou or 0))


def settings_on_disk(place: EntryFolder) -> dict[str, Any]:
    """What the masks of an entry were made with; empty when nothing tells."""
    path = place.folder / SETTINGS_FILE
    if not path.exists():
        return {}
    contents = read_json(path)
    settings = contents.get("settings") if isinstance(contents, dict) else None
    return settings if isinstance(settings, dict) else {}

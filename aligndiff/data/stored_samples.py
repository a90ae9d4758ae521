"""The samples of a dataset folder, as whoever uses them afterwards reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aligndiff.data.images import Uint8, read_grey, read_image
from aligndiff.data.layout import EntryFolder
from aligndiff.data.prompt_bank import PromptBank
from aligndiff.data.records import EntryRecord, SampleRecord
from aligndiff.ground.errors import InputError

_HALF = 127  # grey level; a written mask holds 0 and 255 only


@dataclass(frozen=True)
class StoredSample:
    """One sample on disk: its record, and its files when they are asked for."""

    place: EntryFolder
    record: SampleRecord

    @property
    def category(self) -> str:
        return self.place.entry.category

    @property
    def name(self) -> str:
        """Unique within the dataset folder, fit for a file name: "fish-1a2b3c4d_000007"."""
        return f"{self.place.entry.id}_{self.record.index:06d}"

    @property
    def image_path(self) -> Path:
        return self.place.image_path(self.record.index, self.record.image_format)

    def read_image(self) -> Uint8:
        """uint8 RGB (h, w, 3)."""
        return read_image(self.image_path)

    def read_heatmap(self) -> Uint8:
        """uint8 (h, w): the soft coarse mask."""
        return read_grey(self.place.heatmap_path(self.record.index))

    def read_mask(self) -> NDArray[np.bool_]:
        """bool (h, w); only a sample whose status is "refined" has one."""
        return read_grey(self.place.mask_path(self.record.index)) > _HALF


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
        for index in place.indices():
            record = read_sample_record(place, index)
            if record.fingerprint == made_with.fingerprint:
                yield StoredSample(place, record)


def read_sample_record(place: EntryFolder, index: int) -> SampleRecord:
    """The record of one sample. Raises InputError when it is broken, or another sample's."""
    path = place.record_path(index)
    record = SampleRecord.read(path)
    if record.index != index:
        raise InputError(f"{path}: its index is {record.index}; remove the file, repeat step 2")
    return record

"""An export from its selection to its folder: files of the format, the card, the marker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aligndiff.core.errors import AlignDiffError
from aligndiff.core.files import fingerprint, write_text
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.export.card import card
from aligndiff.export.config import ExportConfig, Format
from aligndiff.export.folder import Marker, whole_folder
from aligndiff.export.formats.coco import write_coco
from aligndiff.export.formats.fss1000 import write_fss1000
from aligndiff.export.formats.imagefolder import write_imagefolder
from aligndiff.export.formats.voc import write_voc
from aligndiff.export.formats.webdataset import write_webdataset
from aligndiff.export.formats.yolo import write_yolo
from aligndiff.export.job import Job
from aligndiff.export.selection import Selection

WRITERS: dict[Format, Callable[[Job], None]] = {
    "coco": write_coco,
    "voc": write_voc,
    "yolo": write_yolo,
    "fss1000": write_fss1000,
    "imagefolder": write_imagefolder,
    "webdataset": write_webdataset,
}


def export(
    bank: PromptBank, selection: Selection, config: ExportConfig, done: Callable[[], None]
) -> Job:
    """Write the whole export; the job tells what was written and what could not be read.

    Raises AlignDiffError when nothing could be read. `done` is called after each item.
    """
    target = config.folder.resolve()
    with whole_folder(target) as folder:
        job = Job(bank, selection, config, folder, done)
        WRITERS[config.format](job)
        if not job.written:
            raise AlignDiffError([*job.failures, "no image could be read; nothing was exported"])
        write_text(folder / "README.md", card(job))
        failed = len(selection.items) - len(job.written)
        Marker(settings_of(selection, config), samples_of(selection), failed).write(folder)
    return job


def settings_of(selection: Selection, config: ExportConfig) -> dict[str, Any]:
    """What was asked for, as JSON holds it."""
    asked = {**config.own_settings, **asdict(selection.config)}
    settings: dict[str, Any] = json.loads(json.dumps(asked, default=str))
    return settings


def samples_of(selection: Selection) -> str:
    """16 hex digits over the chosen items: changes when one comes, goes or is made again."""
    return fingerprint(
        [[item.name, item.category, item.source, *item.identity] for item in selection.items]
    )

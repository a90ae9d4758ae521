"""An export from its selection to its folder: files of the format, the card, the marker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aligndiff.data.exports.card import card
from aligndiff.data.exports.coco import write_coco
from aligndiff.data.exports.folder import Marker, whole_folder
from aligndiff.data.exports.fss1000 import write_fss1000
from aligndiff.data.exports.imagefolder import write_imagefolder
from aligndiff.data.exports.job import Job
from aligndiff.data.exports.options import ExportConfig, Format
from aligndiff.data.exports.selection import Selection
from aligndiff.data.exports.voc import write_voc
from aligndiff.data.exports.webdataset import write_webdataset
from aligndiff.data.exports.yolo import write_yolo
from aligndiff.data.prompt_bank import PromptBank
from aligndiff.ground.errors import AlignDiffError
from aligndiff.ground.files import fingerprint, write_text

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

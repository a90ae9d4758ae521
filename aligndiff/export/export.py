"""An export from its selection to its folder: files of the format, the card, the marker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aligndiff.core.errors import AlignDiffError
from aligndiff.core.files import fingerprint, write_text
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.scenes import SCENE
from aligndiff.export.card import card
from aligndiff.export.folder import Marker, whole_folder
from aligndiff.export.job import ExportJob, FormatChoice
from aligndiff.export.selection import Selection


def export(
    bank: PromptBank,
    selection: Selection,
    choice: FormatChoice,
    target: Path,
    done: Callable[[], None],
) -> ExportJob:
    """Write the whole export to the folder `target`; the job tells what was written and what not.

    Raises AlignDiffError when nothing could be read. `done` is called after each item.
    """
    with whole_folder(target.resolve()) as folder:
        job = ExportJob(bank, selection, choice, folder, done)
        choice.format.write(job)
        if not job.written:
            raise AlignDiffError([*job.failures, "no image could be read; nothing was exported"])
        write_text(folder / "README.md", card(job))
        Marker(settings_of(selection, choice), samples_of(selection), job.failed).write(folder)
    return job


def settings_of(selection: Selection, choice: FormatChoice) -> dict[str, Any]:
    """What was asked for, as JSON holds it; scenes only where there are some to ask for."""
    asked = {**choice.settings, **asdict(selection.config)}
    settings: dict[str, Any] = json.loads(json.dumps(asked, default=str))
    if not any(item.source == SCENE for item in selection.items):
        settings["sources"] = [name for name in settings["sources"] if name != SCENE]
    return settings


def samples_of(selection: Selection) -> str:
    """16 hex digits over the chosen items: changes when one comes, goes or is made again."""
    return fingerprint(
        [[item.name, item.category, item.source, *item.identity] for item in selection.items]
    )

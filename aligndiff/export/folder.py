"""The folder of an export: it appears whole, and only an export is ever replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import check_writable, read_json, write_json
from aligndiff.dataset.records import describe_changes

MARKER = "export.json"  # tells an export from a folder of the user's


@dataclass(frozen=True)
class Marker:
    """What an export holds: the settings, a hash of the samples, how many could not be read."""

    settings: dict[str, Any]
    samples: str
    failed: int

    def write(self, folder: Path) -> None:
        """Write `export.json` into `folder`."""
        content = {"settings": self.settings, "samples": self.samples, "failed": self.failed}
        write_json(folder / MARKER, {"aligndiff_export": 1, **content})


def is_there(folder: Path, settings: Mapping[str, Any], samples: str, overwrite: bool) -> bool:
    """Whether `folder` holds just this export already, whole.

    Raises InputError when the folder is not ours to write: it holds something else (also with
    `overwrite`: it might be anything), or another export and no `overwrite`, or may not be written.
    """
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        check_writable([_beside(folder) / MARKER])
        return False
    marker = _read(folder) if folder.is_dir() else None
    if marker is None:
        what = "holds other things than an export" if folder.is_dir() else "is no folder"
        raise InputError(f"{folder}: {what}, nothing there is touched; choose another --output_dir")
    check_writable([_beside(folder) / MARKER])
    if overwrite:
        return False
    if marker.settings != settings or marker.samples != samples:
        changes = describe_changes(marker.settings, settings) or "the samples are other ones"
        raise InputError(
            f"{folder}: holds an export of another kind ({changes}); choose another --output_dir, "
            "or --overwrite to replace it"
        )
    return marker.failed == 0


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; it takes its place on success, vanishes on error."""
    beside, old = _beside(target), _old(target)
    _tidy(target)  # after a run that was killed
    beside.mkdir(parents=True)
    try:
        yield beside
        if target.exists():
            os.replace(target, old)
        os.replace(beside, target)
    finally:
        _tidy(target)


def _tidy(target: Path) -> None:
    """Remove what lies beside `target`; an earlier export goes back where there is no new one."""
    if _old(target).exists() and not target.exists():
        os.replace(_old(target), target)
    for left_over in (_beside(target), _old(target)):
        shutil.rmtree(left_over, ignore_errors=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.tmp")


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old.tmp")


def _read(folder: Path) -> Marker | None:
    """What an export says of itself; None where no readable `export.json` of ours lies."""
    try:
        content = read_json(folder / MARKER)
        marker = Marker(content["settings"], content["samples"], content["failed"])
        return marker if content["aligndiff_export"] == 1 else None
    except (InputError, KeyError, TypeError):
        return None

"""Looking at a dataset folder from outside: what lies there, what differs, what is broken."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from aligndiff.core.errors import one_line
from aligndiff.runner.lock import LOCK_FILE

PICTURES = {".jpg", ".png"}


def files_below(root: Path) -> Iterator[Path]:
    """Every file, hidden ones too, in order; one that vanishes meanwhile is no error."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def tree(root: Path) -> dict[str, str]:
    """The path of every file below `root` with the SHA-256 of its bytes."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_below(root)
    }


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One line for each file that is missing, too much, or has other bytes."""
    lines = [f"missing: {name}" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"too much: {name}" for name in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    return lines + [f"other bytes: {name}" for name in both if wanted[name] != found[name]]


def broken_files(root: Path) -> list[str]:
    """One line for each file under its real name that is not whole, and each untrue record.

    True at every moment: a run writes beside a file's place, and writes a sample's record last.
    """
    lines = []
    for path in files_below(root):
        if path.name.startswith("."):
            continue
        try:
            _read_whole(path)
        except Exception as error:  # whatever a reader says of a half file
            lines.append(one_line(f"half: {path.relative_to(root)}: {error}"))
    return lines


def _read_whole(path: Path) -> None:
    if path.suffix in PICTURES:
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        load_file(path)
    elif path.suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8"))
        if path.parent.name == "samples" and path.stem.startswith("image_"):
            _check_promises(path, found)


def _check_promises(path: Path, record: Mapping[str, object]) -> None:
    """What a sample's record says is there."""
    entry = path.parents[1]
    if "parts" in record:  # of a scene
        image = entry / "images" / f"{path.stem}.{record['image_format']}"
        _check_files(entry, [image, entry / "masks" / f"{path.stem}.png"])
        return
    wanted = [
        entry / "generated_images" / f"{path.stem}.{record['image_format']}",
        entry / "attention_masks" / f"{path.stem}.png",
    ]
    if record["status"] == "refined":
        wanted.append(entry / "aligndiff_masks" / f"{path.stem}.png")
    _check_files(entry, wanted)


def _check_files(entry: Path, wanted: Sequence[Path]) -> None:
    for file in wanted:
        if not file.is_file():
            raise ValueError(f"promises {file.relative_to(entry)}, which is not there")


def largest_difference(first: Path, second: Path, folder: str) -> int:
    """Of the grey levels of all pictures in folders of that name; 255 where one is missing."""
    worst = 0
    for path in files_below(first):
        if path.parent.name != folder:
            continue
        other = second / path.relative_to(first)
        if not other.is_file():
            return 255
        with Image.open(path) as one, Image.open(other) as two:
            apart = np.asarray(one, np.int16) - np.asarray(two, np.int16)
        worst = max(worst, int(np.abs(apart).max()))
    return worst


class Watch:
    """Tells when a file in a folder of one of the given names appears, changes or goes."""

    def __init__(self, root: Path, names: frozenset[str]) -> None:
        self.root, self.names = root, names
        self.before = self._look()

    def has_changed(self) -> bool:
        return self._look() != self.before

    def _look(self) -> set[tuple[str, int, int]]:
        found = set()
        for path in files_below(self.root):
            if path.name == LOCK_FILE or self.names.isdisjoint(path.parts):
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.add((str(path), status.st_ino, status.st_mtime_ns))
        return found

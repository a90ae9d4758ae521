"""The folders that dataset.json names: where they may lie, and whether their pairs are good."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PureWindowsPath

from aligndiff.core.files import hint_for_backslashes
from aligndiff.dataset.bank_checks import did_you_mean
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.support import inspect_support, is_named_as_image

_MOST_LINKS = 40  # from one to the next; the kernel gives up there, too


def as_on_disk(root: Path, folder: str) -> str:
    """The folder spelled as it is on the disk: systems differ in how they spell accents."""
    if os.path.lexists(root / folder):
        return folder
    place = Path("/" if os.path.isabs(folder) else ".")
    for part in Path(folder).parts:
        if not os.path.lexists(root / place / part):
            part = _spelled_otherwise(root / place, part) or part
        place /= part
    return str(place)


def _spelled_otherwise(folder: Path, name: str) -> str | None:
    composed = unicodedata.normalize("NFC", name)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return next((item for item in names if unicodedata.normalize("NFC", item) == composed), None)


def check_folder(
    root: Path, folder: str, mask_class: MaskClass | None = None
) -> tuple[list[str], tuple[str, ...]]:
    """Whether a folder of the prompt bank is there, with good support pairs.

    Returns what is wrong, and notes on what looks odd. The dataset folder is left only by an
    absolute path, in dataset.json or of a link: it names a place on this machine, which whoever
    made a dataset elsewhere does not know. "..", which leads somewhere anywhere, is refused.
    """
    if PureWindowsPath(folder).is_absolute():
        return [f"{folder} is a path of Windows; write it as this system does, with /"], ()
    path = root / folder  # an absolute folder stands alone
    if folder == ".." or folder.startswith("../"):
        return [f"{folder} leaves the dataset folder; give the absolute path of your files"], ()
    if not os.path.isdir(path):  # False, where Path.is_dir fails: a name too long for a file system
        what = "is a file, not a folder" if os.path.exists(path) else "no such folder"
        siblings = [item.name for item in root.iterdir() if item.is_dir()] if root.is_dir() else []
        near = hint_for_backslashes(folder) or did_you_mean(folder, siblings)
        return [f"{folder}: {what}{near}; give a folder of support pairs"], ()
    if strays := _stray_links(root, path):  # and do not read them
        what = "is a relative link out of the dataset folder; make it absolute if the file is yours"
        return [f"{item}: {what}" for item in strays], ()
    report = inspect_support(path, mask_class)
    return list(report.problems), report.notes


def _stray_links(root: Path, folder: Path) -> list[Path]:
    """The folder, or its pictures, where they leave the dataset folder by a relative link."""
    if not folder.is_relative_to(root):  # an absolute path: the user's own files
        return []
    if not keeps_to(root, folder):
        return [folder]
    if not _leads_into(root, folder):  # by an absolute link: what lies there is the user's own
        return []
    links = [item for item in folder.iterdir() if item.is_symlink() and is_named_as_image(item)]
    return sorted(item for item in links if not keeps_to(root, item))


def keeps_to(root: Path, path: Path) -> bool:
    """Whether `path` stays below `root`, all relative links followed, or leaves by an absolute one.

    What an absolute link leads to is not looked at.
    """
    top = os.path.realpath(root)
    place = top
    for part in path.relative_to(root).parts:
        place = os.path.join(place, part)
        for _ in range(_MOST_LINKS):
            if not os.path.islink(place):
                break
            target = os.readlink(place)
            if os.path.isabs(target):
                return True
            place = os.path.normpath(os.path.join(os.path.dirname(place), target))
            if not Path(place).is_relative_to(top):
                return False
    return True


def _leads_into(root: Path, path: Path) -> bool:
    """Whether `path`, its links followed, ends below `root`."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))

"""What to say about the files that are there when those that are needed are not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

# Pictures that people have and that are not read, and those that are; by their suffixes.
_OTHER_PICTURES = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".psd", ".svg", ".npy")
_USUAL_PICTURES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp"),
    *(".gif", ".jfif", ".jpe", ".jp2"),
)
_MOST_LOOKED_AT = 2000  # files of a folder
_BEGINNING = 65_536  # bytes of an annotation file in which its keys stand

# What stands in the first bytes of a format's files, by its name for prepare_dataset --from.
_KEYS = (
    ("labelme", ".json", (b'"shapes"', b'"imagePath"')),
    ("coco", ".json", (b'"images"', b'"annotations"')),
    ("coco", ".json", (b'"images"', b'"categories"')),
    ("supervisely", ".json", (b'"objects"', b'"size"')),
    ("cvat", ".xml", (b"<annotations",)),
)
_LABEL_STUDIO = re.compile(r"task-\d+-annotation-\d+-", re.IGNORECASE)
_FOLDERS = (
    ("voc", ("JPEGImages", "SegmentationClass")),
    ("mvtec", ("test", "ground_truth")),
    ("supervisely", ("img", "ann")),
    ("yolo", ("images", "labels")),
    ("pairs", ("images", "masks")),
)


def prepare_command(source: Path, known: str | None = None, category: str = "NAME") -> str:
    """The command that makes a dataset folder of `source`, with places to fill in."""
    layout = f" --from {known}" if known else ""
    folder = shlex.quote(str(source))
    options = f"--category {shlex.quote(category)} --dataset_dir NEW_FOLDER"
    return f"python -m scripts.prepare_dataset {folder}{layout} {options}"


def hint_for_missing_bank(root: Path) -> str:
    """How to get a dataset.json: from the folder's own pictures and annotations, if it has any."""
    known = annotation_format(root)
    if known:
        return f"{known} files are there: {prepare_command(root, known)}"
    if _has_pictures(root):
        return f"to make one of what is there: {prepare_command(root)}"
    command = prepare_command(Path("YOUR_PHOTOS")).replace("NEW_FOLDER", shlex.quote(str(root)))
    return f"to make one: {command} (docs/YOUR_PHOTOS.md)"


def hint_for_no_pairs(folder: Path) -> str | None:
    """What a folder without support pairs holds instead; None when there is nothing to say."""
    known = annotation_format(folder)
    if known:
        return f"{known} files are there: {prepare_command(folder, known)}"
    return hint_for_pictures([path.name for path in _files(folder)])


def hint_for_lone_file(path: Path) -> str | None:
    """What lies beside a photo without a mask, or a mask without a photo, under a like name."""
    beside = [other.name for other in _files(path.parent) if other.name != path.name]
    same = [name for name in beside if _stem(name) == _stem(path.name)]
    for name in (name for name in same if name.lower().endswith((".json", ".xml"))):
        known = annotation_format(path.parent)
        if known:
            return f"{name} is there, of {known}: {prepare_command(path.parent, known)}"
    if hint := hint_for_pictures(same):
        return hint
    alike = [
        name
        for name in beside
        if Path(name).stem != path.stem and _plain(name) == _plain(path.name)
    ]
    if alike:
        return f"{alike[0]} is there, of another spelling: give both files one name"
    longer = [
        name for name in beside if _stem(name).startswith(_stem(path.name)) and name not in same
    ]
    if longer:
        return f"{longer[0]} is there: give both files one name, or {prepare_command(path.parent)}"
    if known := annotation_format(path.parent):
        return f"{known} files are there: {prepare_command(path.parent, known)}"
    return None


def hint_for_pictures(names: Sequence[str]) -> str | None:
    """The first of some files that is a picture of a kind that is not read; None for none."""
    other = [name for name in names if Path(name).suffix.lower() in _OTHER_PICTURES]
    if not other:
        return None
    kind = Path(other[0]).suffix[1:].upper()
    return f"{other[0]} is there, but {kind} is not read; convert it to jpg (masks: to png)"


def annotation_format(folder: Path) -> str | None:
    """Which of the formats of prepare_dataset a folder holds, by a quick look; None for none."""
    if not folder.is_dir():
        return None
    names = {item.name.lower() for item in islice(folder.iterdir(), _MOST_LOOKED_AT)}
    for known, parts in _FOLDERS:
        if all(part.lower() in names for part in parts):
            return known
    files = _files(folder)
    if any(_LABEL_STUDIO.match(path.name) for path in files):
        return "label_studio"
    for path in files[:50]:
        for known, suffix, keys in _KEYS:
            if path.suffix.lower() == suffix and _holds(path, keys):
                return known
    return None


def _has_pictures(root: Path) -> bool:
    """Whether the folder or one of its own folders holds pictures of any kind."""
    folders = [root, *(item for item in islice(root.iterdir(), _MOST_LOOKED_AT) if item.is_dir())]
    pictures = (*_USUAL_PICTURES, *_OTHER_PICTURES)
    return any(path.suffix.lower() in pictures for folder in folders for path in _files(folder))


def _holds(path: Path, keys: Sequence[bytes]) -> bool:
    """Whether all keys stand near the beginning of a file, or near its end."""
    try:
        with open(path, "rb") as file:
            text = file.read(_BEGINNING)
            file.seek(max(0, path.stat().st_size - _BEGINNING))
            text += file.read(_BEGINNING)
    except OSError:
        return False
    return all(key in text for key in keys)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    items = islice((item for item in folder.iterdir() if item.name[0] != "."), _MOST_LOOKED_AT)
    return sorted(item for item in items if item.is_file())  # no error for links in a circle


def _stem(name: str) -> str:
    return Path(name).stem.casefold()


def _plain(name: str) -> str:
    """A name as it is compared: no case, no suffixes, letters and digits alone."""
    stem = name.split(".")[0].casefold()
    return "".join(character for character in stem if character.isalnum())

"""The folder that a user brings, and what the reader of a format finds in it."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import unquote

from aligndiff.annotations.mask_files import MaskFiles
from aligndiff.annotations.shapes import MaskFile, Shape
from aligndiff.core.errors import InputError
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.support import SUFFIXES, natural_order

_NAMED = 3  # files that a line names; the others are counted
_MOST_FILES = 1_000_000


@dataclass(frozen=True)
class SourceTree:
    """The files below a folder: `files` are relative to `root`, with "/" between parts."""

    root: Path
    files: tuple[str, ...]
    masks: MaskFiles = field(default_factory=MaskFiles)

    @classmethod
    def scan(cls, root: Path, mask_class: MaskClass | None = None) -> SourceTree:
        """Look through the folder, its links too; hidden files and folders do not count."""
        found = [Path(folder, name) for folder, names in _walk(root) for name in names]
        names = (path.relative_to(root).as_posix() for path in found)
        return cls(root, tuple(sorted(names, key=_path_order)), MaskFiles(mask_class))

    def path(self, name: str) -> Path:
        """Where a file of the tree lies."""
        return self.root / name

    def mask(self, name: str) -> MaskFile:
        """A file of the tree that is a mask; it is read when it is drawn."""
        return MaskFile(partial(self.masks.read, self.path(name)))

    def named(self, *suffixes: str) -> list[str]:
        """The files with one of these suffixes (lower case), in natural order."""
        return [name for name in self.files if name.lower().endswith(suffixes)]

    @cached_property
    def pictures(self) -> list[str]:
        """The files whose names say that they are pictures which the steps can read."""
        return self.named(*SUFFIXES)

    def locate(self, name: str, annotation: str, below: Sequence[str] = ("",)) -> str:
        """The file of the tree that an annotation file calls `name`.

        Annotation files are moved about: the name counts relative to the annotation file's folder,
        then to each folder of `below`, then as the end of a path, then as a bare file name. What
        lies outside of the tree is never looked at. InputError when there is no such file, or
        when several have that name.
        """
        clean = unquote(name) if "%" in name and name not in self._names else name
        clean = clean.replace("\\", "/").removeprefix("file://")
        for folder in (posixpath.dirname(annotation), *below):
            path = posixpath.normpath(posixpath.join(folder, clean))
            if path in self._names:
                return path
        tail = [part for part in clean.split("/") if part not in ("", ".", "..")]
        while tail:
            matches = self._ending_in(tail)
            if len(matches) == 1:
                return matches[0]
            if len(matches) > 1:
                raise InputError(f"names {name}, of which there are {shortlist(matches)}")
            tail = tail[1:]
        leaves = clean.startswith("/") or ".." in clean.split("/") or ":" in clean[:2]
        raise MissingPhotoError(name, leaves)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.files)

    @cached_property
    def _by_last_part(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(posixpath.basename(name).casefold(), []).append(name)
        return found

    def _ending_in(self, tail: Sequence[str]) -> list[str]:
        end = "/" + "/".join(tail).casefold()
        candidates = self._by_last_part.get(tail[-1].casefold(), [])
        return [name for name in candidates if f"/{name.casefold()}".endswith(end)]


class MissingPhotoError(InputError):
    """An annotation file names a photo that is not there; `leaves`: its path leads out."""

    def __init__(self, name: str, leaves: bool) -> None:
        super().__init__(f"names {name}, which is not there")
        self.name, self.leaves = name, leaves


@dataclass(frozen=True)
class SourcePair:
    """A photo and the outlines of one category in it.

    Attributes:
        photo: the photo, a file of the tree.
        category: the source's own name of the category; "" where it has none.
        shapes: what of the photo is the object: their union.
        ignored: what counts neither as object nor as background.
        size: (h, w) of the photo when it was annotated, where the source says so.
        origin: the file of the tree that the shapes come from, for messages.
    """

    photo: str
    category: str
    shapes: tuple[Shape, ...]
    ignored: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    origin: str = ""


@dataclass(frozen=True)
class SourceReading:
    """What a reader found: pairs in the order of the photos, problems, notes, a line each."""

    pairs: tuple[SourcePair, ...]
    unmarked: tuple[str, ...] = ()  # photos without any mask
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Collector:
    """Gathers the shapes of annotation files, photo by photo, into a `SourceReading`."""

    tree: SourceTree
    problems: list[str] = field(default_factory=list)
    _photos: dict[str, str | None] = field(default_factory=dict)  # by annotation and name
    _pairs: dict[tuple[str, str], _Marks] = field(default_factory=dict)
    _seen: dict[str, None] = field(default_factory=dict)
    _missing: dict[str, list[str]] = field(default_factory=dict)
    _skipped: Counter[str] = field(default_factory=Counter)

    def photo(self, name: object, annotation: str, below: Sequence[str] = ("",)) -> str | None:
        """The photo that an annotation file names; None, and noted, when there is none."""
        key = f"{annotation}\n{name}"
        if key not in self._photos:
            self._photos[key] = self._locate(name, annotation, below)
        return self._photos[key]

    def _locate(self, name: object, annotation: str, below: Sequence[str]) -> str | None:
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            self.problems.append(f"{annotation}: names a photo as {name!r}; give its file name")
            return None
        try:
            found = self.tree.locate(name, annotation, below)
        except MissingPhotoError as error:
            if error.leaves:
                what = "a path out of the source folder, which is not followed"
                self.problems.append(f"{annotation}: names {name}, {what}; put the photo inside")
            else:
                self._missing.setdefault(annotation, []).append(name)
            return None
        except InputError as error:
            self.problems += [f"{annotation}: {problem}" for problem in error.problems]
            return None
        self._seen[found] = None
        return found

    def add(
        self,
        photo: str,
        category: str,
        shape: Shape,
        origin: str,
        size: tuple[int, int] | None = None,
        ignored: bool = False,
    ) -> None:
        """One more shape of a category in a photo."""
        marks = self._pairs.setdefault((photo, category), _Marks(origin, size))
        (marks.ignored if ignored else marks.shapes).append(shape)

    def ignore_everywhere(self, photo: str, shape: Shape) -> None:
        """A shape that counts nowhere, for each category that the photo has by now."""
        for (name, _), marks in self._pairs.items():
            if name == photo:
                marks.ignored.append(shape)

    def skip(self, what: str) -> None:
        """Count an annotation that outlines nothing, such as a box."""
        self._skipped[what] += 1

    def reading(self, photos: Collection[str] = ()) -> SourceReading:
        """What was gathered. `photos`: those that the source has, also without annotations."""
        pairs = [
            SourcePair(photo, category, tuple(m.shapes), tuple(m.ignored), m.size, m.origin)
            for (photo, category), m in self._pairs.items()
            if m.shapes
        ]
        pairs.sort(key=lambda pair: (_path_order(pair.photo), pair.category))
        marked = {pair.photo for pair in pairs}
        known = dict.fromkeys([*photos, *self._seen])
        unmarked = tuple(sorted((n for n in known if n not in marked), key=_path_order))
        notes = [f"{count} {what} left out" for what, count in self._skipped.items()]
        problems = list(self.problems)
        for annotation, names in self._missing.items():
            line = f"{annotation}: {_count(names, 'photo')} not in the source folder"
            line += f" ({shortlist(names)})"
            if marked:
                notes.append(f"{line}: left out")
            else:
                problems.append(f"{line}; put the photos there")
        return SourceReading(tuple(pairs), unmarked, tuple(problems), tuple(notes))


@dataclass
class _Marks:
    origin: str
    size: tuple[int, int] | None
    shapes: list[Shape] = field(default_factory=list)
    ignored: list[Shape] = field(default_factory=list)


def shortlist(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    first = list(names)[:_NAMED]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def _count(names: Sequence[str], noun: str) -> str:
    return f"1 {noun} is" if len(names) == 1 else f"{len(names)} {noun}s are"


def _path_order(name: str) -> list[object]:
    return [natural_order(part) for part in name.split("/")]


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Folders and the names of their files, links followed, each folder once."""
    seen: set[str] = set()
    count = 0
    for folder, folders, names in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:  # a link to a folder above would lead round and round
            folders.clear()
            continue
        seen.add(place)
        folders[:] = [name for name in folders if not _hidden(name)]
        names = [name for name in names if not _hidden(name)]
        count += len(names)
        if count > _MOST_FILES:
            raise InputError(f"{root}: holds more than a million files; name a folder within it")
        yield folder, [name for name in names if os.path.isfile(os.path.join(folder, name))]


def _hidden(name: str) -> bool:
    return re.match(r"\.|__MACOSX$|Thumbs\.db$", name) is not None

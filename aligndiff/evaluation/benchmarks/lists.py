"""The lists that say which images a fold of a benchmark tests on: read, or made from the masks."""

from __future__ import annotations

import io
import logging
import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input
from aligndiff.core.prefetch import prefetch_map
from aligndiff.dataset.images import read_labels

logger = logging.getLogger(__name__)

_MOST_BYTES = 64 * 2**20  # HSNet's largest list has some 80,000 names
_LEAST_AREA = 2 * 32 * 32  # px; smaller objects are left out, as PFENet does
_LINE = re.compile(r"(.+)__(\d+)")
_READERS, _AHEAD = 2, 32  # threads that decode masks, and how many wait


@dataclass(frozen=True)
class Listed:
    """A line of a list: an image, by its name without suffix, and a class that it shows."""

    name: str
    label: int  # counted from 1, as in the masks

    def __str__(self) -> str:
        return f"{self.name}__{self.label:02d}"


def read_names(path: Path) -> list[str]:
    """The lines of a text file, without empty ones. InputError when there is none."""
    try:
        text = read_input(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text file; put the list there") from None
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise InputError(f"{path}: is empty; put the list there")
    return names


def read_list(path: Path, labels: Sequence[int]) -> list[Listed]:
    """A list in HSNet's text form, a line `2007_000033__01` for each image and class.

    InputError names every line that has another form or a class that is none of `labels`.
    """
    listed, problems = [], []
    for number, line in enumerate(read_names(path), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            form = "a line is an image and a class number, as in 2007_000033__01"
            problems.append(f"{path}: line {number}: {line!r} is none of a list; {form}")
        elif int(match[2]) not in labels:
            problems.append(f"{path}: line {number}: {_not_of_the_fold(int(match[2]), labels)}")
        else:
            listed.append(Listed(match[1], int(match[2])))
    if problems:
        raise InputError(problems)
    return listed


def read_pickled_list(path: Path, labels: Sequence[int]) -> list[Listed]:
    """HSNet's list of COCO-20i: a pickled dict from class number, from 0, to names of images.

    A pickle that holds anything but dicts, lists, numbers and texts is refused: none of its code
    is run.
    """
    wrong = f"{path}: is no list of COCO-20i; put HSNet's data/splits/coco/val/{path.name} there"
    try:
        table = read_plain_pickle(path, _MOST_BYTES)
    except InputError as error:
        raise InputError(f"{wrong} ({error})") from None
    listed, problems = [], []
    for number, names in table.items():
        if not isinstance(number, int) or not isinstance(names, list | tuple):
            raise InputError(wrong)
        if names and number + 1 not in labels:
            problems.append(f"{path}: {_not_of_the_fold(number + 1, labels)}")
        listed += [Listed(str(name).removesuffix(".jpg"), number + 1) for name in names]
    if problems:
        raise InputError(problems)
    return listed


def read_plain_pickle(path: Path, most_bytes: int, blanks: bool = False) -> dict[Any, Any]:
    """A pickled dict of dicts, lists, numbers and texts.

    None of the pickle's code is run: what else it holds is refused, or with `blanks` becomes an
    object that says nothing. InputError when it is no such file.
    """
    wrong = f"{path}: is no pickled table; put the file of docs/EVALUATE.md there"
    unpickler = _BlankingUnpickler if blanks else _PlainUnpickler
    try:
        table = unpickler(io.BytesIO(read_input(path, most_bytes))).load()
    except _BROKEN as error:
        raise InputError(f"{wrong} ({error})") from None
    if not isinstance(table, dict):
        raise InputError(wrong)
    return table


def images_that_show(labels: Sequence[int], masks: Sequence[tuple[str, Path]]) -> list[Listed]:
    """The list of (name, mask file) pairs that show a class of `labels` on at least 2048 px."""
    listed: list[Listed] = []
    logger.warning("note: no list of the fold's images: looking through %d masks", len(masks))
    areas = prefetch_map(lambda pair: _areas(pair[1]), masks, _AHEAD, _READERS)
    for (name, _), area in zip(masks, areas, strict=True):
        listed += [Listed(name, label) for label in labels if area[label] >= _LEAST_AREA]
    return listed


def _areas(mask: Path) -> np.ndarray:
    """Pixels of each label, (256,)."""
    return np.bincount(read_labels(mask).ravel(), minlength=256)


def _not_of_the_fold(label: int, labels: Sequence[int]) -> str:
    known = ", ".join(map(str, labels))
    return f"class {label} is not of this fold, which tests {known}; put the fold's list there"


_BROKEN = (  # what a broken pickle may raise
    *(pickle.UnpicklingError, AttributeError, EOFError, IndexError, KeyError, TypeError),
    ValueError,
)


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # the library calls it: for every class
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


class _BlankingUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _plain_dict if name in ("OrderedDict", "defaultdict") else _Blank


class _Blank:
    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def _plain_dict(*_: object) -> dict[Any, Any]:
    return {}

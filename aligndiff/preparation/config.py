"""The options of a preparation."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import hint_for_backslashes, typed_path
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.mask_class import MaskClass, check_mask_class

_MOST_PAIRS = 100_000


@dataclass(frozen=True)
class PrepareConfig:
    """What is taken from where, and where it goes."""

    source: Path
    category: tuple[str, ...] = ()
    dataset_dir: Path | None = None
    source_format: str | None = None
    pairs: int | None = None
    mask_class: MaskClass | None = None
    outline: bool = False
    list_only: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        problems = _check_source(self.source)
        if self.dataset_dir is None and not self.list_only:
            problems.append("--dataset_dir: missing; name the folder to make, or --list to look")
        if self.outline and self.list_only:
            problems.append("--outline and --list: one draws, the other only looks; type one")
        if self.dataset_dir is not None:
            problems += _check_target(self.source, self.dataset_dir)
        if self.pairs is not None and not 1 <= self.pairs <= _MOST_PAIRS:
            problems.append(f"--pairs must be from 1 to {_MOST_PAIRS}, not {self.pairs}")
        if self.mask_class is not None and (problem := check_mask_class(self.mask_class)):
            problems.append(f"--mask_class: {problem}, not {self.mask_class}")
        if problems:
            raise InputError(problems)


def add_prepare_options(parser: ArgumentParser, formats: Sequence[str]) -> None:
    """The options of `PrepareConfig`; not one for each field by its name: one is a place, `--from`
    is a word of Python, and `--category` may be typed several times."""
    add = parser.add_argument
    add(
        "source",
        type=typed_path,
        metavar="SOURCE",
        help="the folder with your photos and annotations",
    )
    add(
        "--category",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="the object's name; where SOURCE names its categories, take these alone (default: "
        "all of them); OLD=NEW takes one under another name",
    )
    add(
        "--dataset_dir",
        type=typed_path,
        metavar="PATH",
        help="the folder to make or to add to; not within SOURCE",
    )
    add(
        "--from",
        dest="source_format",
        choices=formats,
        help="the format of SOURCE (default: recognised)",
    )
    add(
        "--pairs",
        type=int,
        metavar="N",
        help="at most this many pairs of each category, the first by name (default: all)",
    )
    add(
        "--mask_class",
        type=_mask_class,
        metavar="CLASS",
        help="which class of the mask files is the object: a number, a colour as #c08080, any, "
        "trimap or alpha (default: a file is read by what is in it, see docs/FORMAT.md)",
    )
    add(
        "--outline",
        action="store_true",
        help="open a page of this machine's own, to draw the object in the photos without a mask",
    )
    add(
        "--list",
        dest="list_only",
        action="store_true",
        help="say what is in SOURCE, and write nothing",
    )
    add(
        "--skip_bad",
        action="store_true",
        help="leave out what cannot be read, and say what (default: write nothing then)",
    )


def _mask_class(word: str) -> MaskClass:
    return int(word) if word.isascii() and word.isdecimal() else word


def _check_source(source: Path) -> list[str]:
    if (source / DATASET_FILE).exists():
        what = f"is a dataset folder already, it has {DATASET_FILE}"
        return [f"{source}: {what}; name the folder your photos came from, or one within it"]
    if source.is_dir():
        return []
    if source.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") and source.exists():
        return [f"{source}: is an archive; unpack it and name the folder"]
    if source.exists():
        return [f"{source}: is a file; name the folder that it lies in"]
    hint = hint_for_backslashes(source)
    return [f"{source}: no such folder{hint}; name the one that holds the photos"]


def _check_target(source: Path, target: Path) -> list[str]:
    """The source is the user's own and is never written to."""
    if target.exists() and not target.is_dir():
        return [f"--dataset_dir {target}: is a file; name a new folder"]
    here, there = source.resolve(), target.resolve()
    if there == here or here in there.parents:
        what = "is SOURCE itself" if there == here else "lies within SOURCE"
        return [f"--dataset_dir {target}: {what}, where nothing is written; name another folder"]
    return []

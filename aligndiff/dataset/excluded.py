"""Lists of samples that somebody has looked at and does not want: one name a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import stored_samples

EXCLUDE_HELP = "a text file: one name of a sample to leave out a line"
_MOST_BYTES = 64 * 2**20  # a million names


def read_names(path: Path) -> dict[str, int]:
    """The names of a list, with their line numbers; empty lines and # comments say nothing."""
    text = read_input(path, _MOST_BYTES).decode("utf-8-sig", "backslashreplace")
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return {name: number for number, name in lines if name and not name.startswith("#")}


def unknown_names(path: Path | None, names: dict[str, int]) -> list[str]:
    """A line for each name of a list that no sample has."""
    return [
        f"{path}: line {number}: {name}: no such sample in this dataset; remove the line"
        for name, number in names.items()
    ]


def excluded_samples(path: Path | None, roots: Iterable[Path]) -> frozenset[str]:
    """The names on the list `path` (None: no list) of samples in the dataset folders `roots`.

    InputError tells every name that no sample there has.
    """
    if path is None:
        return frozenset()
    names = read_names(path)
    known = {s.name for root in set(roots) for s in stored_samples(load_prompt_bank(root))}
    if unknown := {name: line for name, line in names.items() if name not in known}:
        raise InputError(unknown_names(path, unknown))
    return frozenset(names)

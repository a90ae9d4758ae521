"""dataset.json of a prepared folder: starter prompts for new categories; what is there stays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json, write_text
from aligndiff.dataset.bank_checks import parse_entry
from aligndiff.dataset.bank_text import bank_text
from aligndiff.dataset.entries import EmbeddingEntry, TextEntry
from aligndiff.dataset.layout import DATASET_FILE

_TAKEN = ("synthesized", "sheets", "gallery", "exports", "learned_embeddings", "prompts")
_LONGEST = 60  # characters of a folder's name


@dataclass(frozen=True)
class Bank:
    """The file's content as it stands, and its entries that are right.

    Attributes:
        content: the JSON object, or an empty one for a new file.
        folders: the support folder of each category.
    """

    content: dict[str, Any]
    folders: dict[str, str]


def read_bank(dataset_dir: Path) -> Bank:
    """The bank of a dataset folder, or an empty one. InputError when it cannot be added to."""
    path = dataset_dir / DATASET_FILE
    if not path.exists():
        return Bank({}, {})
    content = read_json(path)
    entries = content.get("prompt_dataset") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"{path}: has no list prompt_dataset; correct it, or move it away")
    folders: dict[str, str] = {}
    for raw in entries:
        entry, _ = parse_entry(raw)
        if isinstance(entry, TextEntry | EmbeddingEntry):
            folders.setdefault(entry.category, entry.support_dir)
    return Bank(content, folders)


def folders_for(categories: Iterable[str], bank: Bank, dataset_dir: Path) -> dict[str, str]:
    """The support folder of each category: the bank's own, else one named after the category."""
    folders: dict[str, str] = {}
    taken = {*_TAKEN, *(folder.casefold() for folder in bank.folders.values())}
    for category in categories:
        folder = bank.folders.get(category)
        if folder is None:
            base = "_".join(re.findall(r"\w+", category))[:_LONGEST] or "object"
            names = (base if n == 1 else f"{base}_{n}" for n in range(1, len(taken) + 2))
            folder = next(name for name in names if name.casefold() not in taken)
        if not (dataset_dir / folder).resolve().is_relative_to(dataset_dir.resolve()):
            what = "leaves the dataset folder, where alone pairs are added"
            raise InputError(f"{dataset_dir / folder}: {what}; move the link or the folder away")
        taken.add(folder.casefold())
        folders[category] = folder
    return folders


def add_entries(dataset_dir: Path, bank: Bank, folders: dict[str, str]) -> list[str]:
    """Write starter prompts for the categories that have no entry; returns these categories."""
    new = [category for category in folders if category not in bank.folders]
    if new:
        entries = [*bank.content.get("prompt_dataset", [])]
        for category in new:
            entries += starter_entries(category, folders[category])
        content = {**bank.content, "prompt_dataset": entries}
        write_text(dataset_dir / DATASET_FILE, bank_text(content))
    return new


def starter_entries(category: str, folder: str) -> list[dict[str, str]]:
    """A learned look, and two plain texts for the user to change."""
    common = {"category": category, "D_good_dir": folder}
    article = "an" if category[:1].lower() in tuple("aeiou") else "a"
    texts = (f"a photo of {article} {category}", f"a close-up photo of {article} {category}")
    return [
        {"type": "NM_embedding", **common, "path": folder},
        *({"type": "text", **common, "text": text} for text in texts),
    ]

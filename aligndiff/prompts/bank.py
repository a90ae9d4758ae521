"""The texts of the files in `dataset.json`: what is new joins, what was taken out goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json, write_bytes, write_text
from aligndiff.dataset.bank_checks import parse_entry
from aligndiff.dataset.bank_text import bank_text
from aligndiff.dataset.entries import EmbeddingEntry, Entry, TextEntry
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.prompts.candidate import Candidate, Subject
from aligndiff.prompts.filters import clean

EntryTypes = Literal["auto", "text", "NM_embedding", "both"]
BACKUP = f"{DATASET_FILE}.bak"
_COMMON = ("category", "D_good_dir", "mask_class", "negative_prompt", "definition")


@dataclass(frozen=True)
class BankChange:
    """The new content of `dataset.json`, and what differs from the old one, by category.

    Attributes:
        content: the whole JSON object.
        added: entries that are new.
        removed: entries whose text was taken out of the file.
    """

    content: dict[str, Any]
    added: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    removed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not any(self.added.values()) and not any(self.removed.values())


def subjects_of(bank: PromptBank, categories: Sequence[str]) -> list[Subject]:
    """What texts are asked for. Raises InputError for a category of two definitions."""
    subjects, problems = [], []
    for category in bank.select(categories).categories:
        entries = [entry for entry in bank.entries if entry.category == category]
        definitions = list(dict.fromkeys(e.definition for e in entries if e.definition))
        if len(definitions) > 1:
            problems.append(
                f'{DATASET_FILE}: "{category}" has two definitions, "{definitions[0]}" and '
                f'"{definitions[1]}"; give all of its entries the same one'
            )
        others = tuple(name for name in bank.categories if name.lower() != category.lower())
        subjects.append(Subject(category, "".join(definitions[:1]), others))
    if problems:
        raise InputError(problems)
    return subjects


def texts_of(bank: PromptBank, category: str, written: bool) -> list[Candidate]:
    """The texts of a category in the bank, each once: those with a source, or those typed by hand.

    They have no source in the bank.
    """
    texts: dict[str, Candidate] = {}
    for entry in bank.entries:
        if entry.category == category and entry.text and (entry.source is not None) == written:
            text = clean(entry.text)
            texts.setdefault(text.casefold(), Candidate(text, entry.source or "hand"))
    return list(texts.values())


def updated_bank(
    root: Path, bank: PromptBank, texts: Mapping[str, Sequence[Candidate]], types: EntryTypes
) -> BankChange:
    """`dataset.json` with these texts alone, for the categories in `texts`, beside those by hand.

    Entries that are there keep their place and keys; new ones follow the last of their category.
    """
    content = read_json(root / DATASET_FILE)
    change = BankChange(content)
    entries: list[Any] = content["prompt_dataset"]
    for category, candidates in texts.items():
        asked = {candidate.text.casefold() for candidate in candidates}
        old = [raw for raw in entries if _is_written(raw, category)]
        gone = [raw for raw in old if clean(raw["text"]).casefold() not in asked]
        entries = [raw for raw in entries if not any(raw is item for item in gone)]
        known = {_keys(raw) for raw in entries}
        models = _models(bank, category, types)
        new = [
            raw
            for candidate in candidates
            for model in models
            if _keys(raw := _entry(model, candidate)) not in known
        ]
        place = max((i for i, raw in enumerate(entries) if _is_of(raw, category)), default=-1)
        place = len(entries) if place < 0 else place + 1
        entries = [*entries[:place], *new, *entries[place:]]
        change.added[category], change.removed[category] = new, gone
    return BankChange({**content, "prompt_dataset": entries}, change.added, change.removed)


def write_bank(root: Path, change: BankChange) -> None:
    """Write `dataset.json` whole; the one before it stays beside it as a copy."""
    path = root / DATASET_FILE
    write_bytes(root / BACKUP, path.read_bytes())
    write_text(path, bank_text(change.content))


@dataclass(frozen=True)
class _Model:
    """An entry that new ones are like, and whether they have its learned look."""

    entry: Entry
    learned: bool


def _models(bank: PromptBank, category: str, types: EntryTypes) -> list[_Model]:
    """What new entries are like: one for each learned object, one for plain texts."""
    own = [entry for entry in bank.entries if entry.category == category]
    learned: dict[str, _Model] = {}
    for entry in own:
        if isinstance(entry, EmbeddingEntry):
            learned.setdefault(entry.path, _Model(entry, True))
    # A class that has learned looks alone may get plain texts as well.
    texts = [entry for entry in own if isinstance(entry, TextEntry)]
    plain = [_Model(entry, False) for entry in texts or own]
    if types == "NM_embedding" and not learned:
        raise InputError(
            f'--entry_types NM_embedding: "{category}" has no entry of this type in '
            f"{DATASET_FILE}; add one with its path, or leave the option out"
        )
    if types == "text" or not learned:
        return plain[:1]
    return [*learned.values(), *(plain[:1] if types == "both" else [])]


def _entry(model: _Model, candidate: Candidate) -> dict[str, Any]:
    """The JSON of an entry with a text, in all else like the model's entry."""
    given = model.entry.model_dump(by_alias=True, exclude_none=True)
    common = {key: given[key] for key in _COMMON if key in given}
    path = {"path": given["path"]} if model.learned else {}
    return {
        "type": "NM_embedding" if model.learned else "text",
        **common,
        **path,
        "text": candidate.text,
        "source": candidate.source,
    }


def _keys(raw: object) -> str:
    entry, _ = parse_entry(raw)
    return entry.image_keys.casefold() if entry is not None else ""


def _is_of(raw: Any, category: str) -> bool:
    return isinstance(raw, dict) and clean(str(raw.get("category", ""))) == clean(category)


def _is_written(raw: Any, category: str) -> bool:
    return _is_of(raw, category) and "source" in raw and "text" in raw

"""The prompt bank `dataset.json`: what to make images of, checked whole before anything loads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import hint_for_backslashes, read_json
from aligndiff.dataset import bank_checks as checks
from aligndiff.dataset.bank_checks import CountTokens
from aligndiff.dataset.entries import (
    Defaults,
    EmbeddingEntry,
    Entry,
)
from aligndiff.dataset.folders import as_on_disk, check_folder
from aligndiff.dataset.hints import hint_for_missing_bank
from aligndiff.dataset.layout import DATASET_FILE
from aligndiff.dataset.mask_class import MaskClass

# How the tokens of a prompt are counted, from what the file says of the model.
TokenCounter = Callable[[Defaults], CountTokens]

_TOP_KEYS = ("prompt_dataset", "defaults")


@dataclass(frozen=True)
class PromptBank:
    """A checked prompt bank; the folders of its entries are relative to `root`, or absolute.

    `notes_by_name` holds what looks odd, by the folder or the category that it is about.
    """

    root: Path
    entries: tuple[Entry, ...]
    defaults: Defaults
    notes_by_name: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)

    @property
    def notes(self) -> list[str]:
        """What looks odd about the folders and categories of the entries: a line each, once."""
        names = [
            name
            for entry in self.entries
            for name in (*(folder for _, folder in checks.folder_keys(entry)), entry.category)
        ]
        lines = [line for name in names for line in self.notes_by_name.get(name, ())]
        return list(dict.fromkeys(lines))

    @property
    def categories(self) -> list[str]:
        """The categories, each once, in the order of the file."""
        return list(dict.fromkeys(entry.category for entry in self.entries))

    @property
    def objects(self) -> list[EmbeddingEntry]:
        """What step 1 learns: one entry for each `path`, without the text of any of its images."""
        entries: dict[str, EmbeddingEntry] = {}
        for entry in self.entries:
            if isinstance(entry, EmbeddingEntry):
                entries.setdefault(entry.path, entry.model_copy(update={"text": None}))
        return list(entries.values())

    def select(self, categories: Sequence[str]) -> PromptBank:
        """The entries of these categories (of all when none is named), in the order of the file.

        InputError names every unknown category, and the one that was perhaps meant.
        """
        problems = checks.unknown_categories(categories, self.categories)
        if problems:
            raise InputError(problems)
        kept = [entry for entry in self.entries if not categories or entry.category in categories]
        return replace(self, entries=tuple(kept))


def load_prompt_bank(
    dataset_dir: str | Path,
    categories: Sequence[str] = (),
    token_counter: TokenCounter | None = None,
) -> PromptBank:
    """Read and check `dataset.json` and every folder it names.

    The whole file is checked, then cut down to `categories` if any are named. `token_counter` makes
    of the checked defaults what counts the tokens of a prompt, start and end tokens included; only
    prompts so long that they may not fit are counted. Raises one InputError with all problems, each
    naming the entry (counted from 1) and the key.
    """
    root = Path(dataset_dir)
    raw_entries, raw_defaults, problems = _read(root)
    defaults, faults = checks.parse_defaults(raw_defaults)
    problems += [f"{DATASET_FILE}: defaults: {problem}" for problem in faults]

    entries: list[tuple[int, Entry]] = []
    seen = _Seen()
    for number, raw in enumerate(raw_entries, start=1):
        entry, faults = checks.parse_entry(raw)
        if entry is not None:
            entry = _spelled_as_on_disk(root, entry)
            faults = _check_entry(root, entry, seen)
            seen.add(number, entry)
            entries.append((number, entry))
        problems += [f"{_where(number, raw)}: {problem}" for problem in faults]
    known = list(dict.fromkeys(_categories(raw_entries)))
    unknown = checks.unknown_categories(categories, known) if known else []
    # A tokenizer takes seconds to load: a slip of the pen on the command line is told at once.
    defaults = rooted_defaults(root, defaults)
    counter = token_counter(defaults) if token_counter and not unknown else None
    problems = _check_lengths(entries, raw_entries, counter, problems + unknown)
    if problems:
        raise InputError(problems)
    checked = tuple(entry for _, entry in entries)
    bank = PromptBank(root, checked, defaults, seen.notes)
    return bank.select(categories)


def _read(root: Path) -> tuple[list[object], object, list[str]]:
    """The entries, the defaults (both unchecked) and the problems of the file around them."""
    if not os.path.isdir(root):
        missing = f"no such folder{hint_for_backslashes(root)}"
        what = "is a file" if os.path.exists(root) else missing
        raise InputError(f"{root}: {what}; --dataset_dir is the folder that holds {DATASET_FILE}")
    if not (root / DATASET_FILE).exists():
        raise InputError(f"{root / DATASET_FILE}: no such file; {hint_for_missing_bank(root)}")
    raw = read_json(root / DATASET_FILE)
    if not isinstance(raw, dict):
        form = 'an object {"prompt_dataset": [...]}'
        raise InputError(f"{DATASET_FILE}: must be {form}, not {checks.kind_of(raw)}")
    problems = [
        f"{DATASET_FILE}: {checks.unknown_key(key, _TOP_KEYS)}"
        for key in raw
        if key not in _TOP_KEYS
    ]
    entries = raw.get("prompt_dataset")
    if "prompt_dataset" not in raw:
        problems.append(f"{DATASET_FILE}: prompt_dataset: missing; add the list of entries")
    elif not isinstance(entries, list):
        wrong = checks.kind_of(entries)
        problems.append(f"{DATASET_FILE}: prompt_dataset: must be a list [...], not {wrong}")
    elif not entries:
        problems.append(f"{DATASET_FILE}: prompt_dataset: has no entries; add at least one")
    return entries if isinstance(entries, list) else [], raw.get("defaults", {}), problems


class _Seen:
    """What the entries so far hold, found at once: a prompt bank may have thousands."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}  # by `image_keys`
        self.learned: dict[str, tuple[int, EmbeddingEntry]] = {}  # with its number, by `path`
        self.folders: set[tuple[str, MaskClass | None]] = set()  # checked already
        self.notes: dict[str, list[str]] = {}  # by folder or category

    def add(self, number: int, entry: Entry) -> None:
        self.numbers.setdefault(entry.image_keys, number)
        if isinstance(entry, EmbeddingEntry):
            self.learned.setdefault(entry.path, (number, entry))
        self.note(entry.category, checks.category_notes(entry.category))

    def note(self, name: str, lines: Iterable[str]) -> None:
        """Keep notes on a folder or category, which may have the same name."""
        known = self.notes.setdefault(name, [])
        known += [line for line in lines if line not in known]


def _check_entry(root: Path, entry: Entry, seen: _Seen) -> list[str]:
    """The problems of an entry whose keys are right; a folder is checked once."""
    problems = checks.check_against(entry, seen.numbers, seen.learned)
    for key, folder in checks.folder_keys(entry):
        if (folder, entry.mask_class) not in seen.folders:
            seen.folders.add((folder, entry.mask_class))
            faults, notes = check_folder(root, folder, entry.mask_class)
            problems += [f"{key}: {problem}" for problem in faults]
            seen.note(folder, notes)
    problems += checks.check_placeholders(entry)
    return problems + [f"text: {problem}" for problem in checks.check_text(entry)]


def _spelled_as_on_disk(root: Path, entry: Entry) -> Entry:
    keys: dict[str, object] = {"support_dir": as_on_disk(root, entry.support_dir)}
    if isinstance(entry, EmbeddingEntry):
        keys["path"] = as_on_disk(root, entry.path)
    return entry.model_copy(update=keys)


def _check_lengths(
    entries: Sequence[tuple[int, Entry]],
    raw_entries: Sequence[object],
    count_tokens: CountTokens | None,
    problems: list[str],
) -> list[str]:
    """The problems so far and those of prompts that are too long.

    When the tokenizer itself cannot be had, its error is raised, after the problems so far.
    """
    if count_tokens is None:
        return problems
    lengths: list[str] = []
    for number, entry in entries:
        try:
            too_long = checks.check_length(entry, count_tokens)
        except InputError as error:
            if problems or lengths:
                raise InputError([*problems, *lengths, *error.problems]) from None
            raise
        where = _where(number, raw_entries[number - 1])
        lengths += [f"{where}: {problem}" for problem in too_long]
    return problems + lengths


def _where(number: int, raw: object) -> str:
    category = raw.get("category") if isinstance(raw, dict) else None
    named = f" ({category.strip()})" if isinstance(category, str) and category.strip() else ""
    return f"{DATASET_FILE}: entry {number}{named}"


def _categories(raw_entries: Sequence[object]) -> list[str]:
    """The categories of all entries, of broken ones too: asking for one of them is no mistake."""
    named = [raw.get("category") for raw in raw_entries if isinstance(raw, dict)]
    return [name.strip() for name in named if isinstance(name, str) and name.strip()]


def rooted_defaults(root: Path, defaults: Defaults) -> Defaults:
    """Weights that lie in the dataset folder by their full path; other names as they are."""
    paths = {
        key: str(root / name)
        for key, name in (
            ("diffusion_model", defaults.diffusion_model),
            ("fss_ckpt_path", defaults.fss_ckpt_path),
        )
        # "tiny" is a name of ours, whatever else lies there.
        if name is not None and name != "tiny" and os.path.exists(root / name)
    }
    return defaults.model_copy(update=paths)

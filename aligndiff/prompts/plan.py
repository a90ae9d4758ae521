"""What there is to do, from the disk: the texts that are there, and how many are to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aligndiff.core.errors import InputError
from aligndiff.core.options import MAX_VECTORS, CommandLine
from aligndiff.dataset.bank_checks import check_prompt_length
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.diffusion.load import token_counter
from aligndiff.prompts.bank import subjects_of, texts_of
from aligndiff.prompts.candidate import Candidate, Subject
from aligndiff.prompts.config import AugmentOptions
from aligndiff.prompts.filters import Filter, Fits
from aligndiff.prompts.prompt_file import PromptFile, file_problems, prompt_path, read_prompts
from aligndiff.prompts.sources.source import TextSource
from aligndiff.prompts.sources.table import DEFAULT, SOURCES

_SHORT = 240  # characters of a text that fits 77 tokens, where no tokenizer can count them


@dataclass(frozen=True)
class CategoryPlan:
    """A category: its file as it is, its checks, and how many texts it needs."""

    subject: Subject
    path: Path
    file: PromptFile
    by_hand: tuple[Candidate, ...]
    checks: Filter
    need: int

    @property
    def present(self) -> list[Candidate]:
        """All texts that are there, in `dataset.json` or in the file."""
        return [*self.by_hand, *self.file.texts]


def asked_sources(line: CommandLine) -> list[tuple[TextSource, Any]]:
    """The sources that the command line asks for, with their options, checked; else the default."""
    pairs: list[tuple[TextSource, Any]] = [
        (source, line.config(source.options)) for source in SOURCES.values()
    ]
    asked = [(source, options) for source, options in pairs if source.is_asked(options)]
    asked = asked or [(DEFAULT, line.config(DEFAULT.options))]
    for source, options in asked:
        source.check(options)
    return asked


def plan_categories(
    bank: PromptBank, options: AugmentOptions, sources: Sequence[str], fits: Fits
) -> list[CategoryPlan]:
    """What each category has and needs. Raises one InputError with what is wrong in the files."""
    plans, problems = [], []
    for subject in subjects_of(bank, options.categories):
        path = prompt_path(bank.root, subject.category)
        # A file that was lost is written anew from the bank.
        file = read_prompts(path) if path.exists() else _from_bank(bank, subject)
        refused = frozenset(text.casefold() for text in file.refused)
        checks = Filter(subject, fits, refused)
        problems += file_problems(path, file, checks)
        by_hand = tuple(texts_of(bank, subject.category, written=False))
        need = max(0, options.count - file.count(sources))
        plans.append(CategoryPlan(subject, path, file, by_hand, checks, need))
    if problems:
        raise InputError(problems)
    return plans


def length_check(line: CommandLine, bank: PromptBank, notes: list[str]) -> Fits:
    """Whether the text encoder reads a text and the most learned words whole.

    Its tokenizer is loaded when a text is too long to be sure. Where it cannot be had, short texts
    pass, a line joins `notes`, and step 2 counts.
    """
    count_tokens = token_counter(line)(bank.defaults)
    missing = False

    def fits(text: str) -> bool:
        nonlocal missing
        if not missing:
            try:
                return not check_prompt_length(text, count_tokens, MAX_VECTORS)
            except InputError as error:
                missing = True
                why = f"no tokenizer counts the tokens of long texts ({error.problems[0]})"
                notes.append(f"{why}; those of up to {_SHORT} characters are taken")
        return len(text) <= _SHORT

    return fits


def _from_bank(bank: PromptBank, subject: Subject) -> PromptFile:
    return PromptFile(tuple(texts_of(bank, subject.category, written=True)))

"""Which texts may join the bank, and why others may not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from aligndiff.dataset.bank_checks import learned_words
from aligndiff.dataset.entries import Prompt, category_spans
from aligndiff.prompts.candidate import Candidate, Dropped, Subject
from aligndiff.prompts.senses import Sense, is_within_another_name, meant_sense, turns_sense

NO_CATEGORY = "without the category as a word"
TWICE = "names the category more than once"
TOO_LONG = "too long for the text encoder"
OTHER_CLASS = "names another class of the bank"
OTHER_SENSE = "another sense of the name"
LEARNED = "holds a learned word"
NO_TEXT = "no usable text"
REPEATED = "says the same as another"
REFUSED = "commented out in the file"

_PROMPT: TypeAdapter[str] = TypeAdapter(Prompt)
Fits = Callable[[str], bool]  # whether the text encoder reads all of a text


def clean(text: str) -> str:
    """One spelling: composed accents, single spaces, no space at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass
class Filter:
    """The checks of a category's texts.

    Attributes:
        subject: what the texts are to be about.
        fits: whether the text encoder reads a text whole; asked last, as it may load a tokenizer.
        refused: texts that the user has commented out.
        dropped: the candidates that were not taken.
    """

    subject: Subject
    fits: Fits
    refused: frozenset[str] = frozenset()
    dropped: list[Dropped] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._meant = meant_sense(self.subject.category, self.subject.definition)

    @property
    def meant(self) -> Sense | None:
        """The sense of an ambiguous name that the definition speaks of."""
        return self._meant

    def keep(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Those that may join, each once; the others go to `dropped`."""
        kept: dict[str, Candidate] = {}
        for item in candidates:
            candidate = replace(item, text=clean(item.text))
            key = candidate.text.casefold()
            reason = REPEATED if key in kept else self.why_not(candidate.text)
            if reason:
                self.dropped.append(Dropped(candidate, reason))
            else:
                kept[key] = candidate
        return list(kept.values())

    def why_not(self, text: str) -> str:
        """Why a clean text may not join; empty when it may."""
        category = self.subject.category
        if text.casefold() in self.refused:
            return REFUSED
        try:
            _PROMPT.validate_python(text, strict=True)
        except ValidationError:
            return NO_TEXT
        if learned_words(text):
            return LEARNED
        spans = category_spans(text, category)
        if not spans:
            return NO_CATEGORY
        if len(spans) > 1:  # step 2 could not tell which one is the object
            return TWICE
        if any(names_class(text, other, category) for other in self.subject.others):
            return OTHER_CLASS
        meant = self._meant
        if is_within_another_name(text, category) or (meant and turns_sense(text, category, meant)):
            return OTHER_SENSE
        return "" if self.fits(text) else TOO_LONG


def names_class(text: str, other: str, category: str) -> bool:
    """Whether a text names another class, or its plural, elsewhere than within the category.

    A name that holds the category ("hot dog" of "dog") counts, one within it does not.
    """
    own = category_spans(text, category)
    spans = [span for name in (other, *plurals(other)) for span in category_spans(text, name)]
    return any(not any(a <= start and end <= b for a, b in own) for start, end in spans)


def plurals(noun: str) -> list[str]:
    """The plurals that English may make of a noun by its rules."""
    if re.search(r"[^aeiou]y$", noun):
        return [f"{noun[:-1]}ies"]
    return [f"{noun}es"] if re.search(r"(s|x|z|ch|sh)$", noun) else [f"{noun}s"]

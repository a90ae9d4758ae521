"""A text that may join the prompt bank."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A text for a category, and the word for where it is from ("templates", "captions", ...)."""

    text: str
    source: str


@dataclass(frozen=True)
class Subject:
    """What texts are asked for.

    Attributes:
        category: the class noun, as in the bank.
        definition: which sense of it is meant; empty where the bank has none.
        others: the other classes of the bank, which its texts may not name.
    """

    category: str
    definition: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dropped:
    """A text that is not taken, and why, in a few words that can be counted."""

    candidate: Candidate
    reason: str


def article(noun: str) -> str:
    """ "a" or "an"."""
    return "an" if noun[:1].lower() in tuple("aeiou") else "a"

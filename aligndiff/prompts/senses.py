"""Names with several senses, and texts that speak of another one than is meant."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from aligndiff.dataset.entries import category_spans


@dataclass(frozen=True)
class Sense:
    """One meaning of a name: its word, what it is in a few words, and words that tell it."""

    name: str
    gloss: str
    cues: frozenset[str]

    def told_by(self, text: str) -> int:
        """How many words of the text tell this sense."""
        return len(self.cues & words_of(text))


def senses_of(category: str) -> list[Sense]:
    """The senses of a name that has several; none of other names."""
    return _table()[0].get(category.lower(), [])


def meant_sense(category: str, definition: str) -> Sense | None:
    """The sense that a definition speaks of most; None when it speaks of none, or of several."""
    ranked = sorted(senses_of(category), key=lambda sense: -_likeness(sense, definition))
    if not ranked or not _likeness(ranked[0], definition):
        return None
    tie = len(ranked) > 1 and _likeness(ranked[0], definition) == _likeness(ranked[1], definition)
    return None if tie else ranked[0]


def is_within_another_name(text: str, category: str) -> bool:
    """Whether every mention of the category belongs to a longer name: "hot dog"."""
    longer = [
        span
        for name in _table()[1].get(category.lower(), [])
        for span in category_spans(text, name)
    ]
    spans = category_spans(text, category)
    return bool(spans) and all(any(a <= s and e <= b for a, b in longer) for s, e in spans)


def turns_sense(text: str, category: str, meant: Sense) -> bool:
    """Whether more words of the text tell another sense than tell the one that is meant."""
    others = [sense for sense in senses_of(category) if sense.name != meant.name]
    return max((sense.told_by(text) for sense in others), default=0) > meant.told_by(text)


def words_of(text: str) -> frozenset[str]:
    """The words of a text in lower case."""
    return frozenset(re.findall(r"[^\W\d_]+", text.lower()))


def _likeness(sense: Sense, definition: str) -> int:
    words = words_of(definition) - {"a", "an", "the", "of", "to", "or", "that"}
    return (
        2 * (sense.name in words) + len(words & words_of(sense.gloss)) + sense.told_by(definition)
    )


@cache
def _table() -> tuple[dict[str, list[Sense]], dict[str, list[str]]]:
    """The senses and the longer names, by category."""
    text = (files("aligndiff.prompts") / "senses.toml").read_text("utf-8")
    content = tomllib.loads(text)
    compounds = content.pop("compounds")
    senses = {
        category: [
            Sense(name, gloss, frozenset(cues.split())) for name, (gloss, cues) in named.items()
        ]
        for category, named in content.items()
    }
    return senses, compounds

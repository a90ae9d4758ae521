"""The editable file of a category's texts: prompts/<category>.txt."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input, write_text
from aligndiff.dataset.entries import slug
from aligndiff.prompts.candidate import Candidate
from aligndiff.prompts.filters import Filter, clean

FOLDER = "prompts"
HAND = "hand"  # the source of lines above the first heading
_MOST_BYTES = 16 * 2**20
_HEADING = re.compile(r"\[([\w.-]{1,40})\]")
_INTRO = """# Texts for "{category}": one a line, below the [source] that it is from.
# Edit them freely, then bring dataset.json up to date: augment_prompts --count 0 adds none.
# A text with # before it is left out, and is not proposed again.
"""
_INTRO_LINES = frozenset(line.split('"')[0] for line in _INTRO.splitlines())


@dataclass(frozen=True)
class PromptFile:
    """What a file holds: the texts in their order, and those that are commented out."""

    texts: tuple[Candidate, ...] = ()
    refused: tuple[str, ...] = ()

    def count(self, sources: Iterable[str]) -> int:
        """How many texts are from these sources."""
        asked = set(sources)
        return sum(candidate.source in asked for candidate in self.texts)

    def with_texts(self, new: Iterable[Candidate]) -> PromptFile:
        return PromptFile((*self.texts, *new), self.refused)


def prompt_path(root: Path, category: str) -> Path:
    """The file of a category; with a hash where plain letters do not spell its name."""
    plain = slug(category)
    if plain != category.replace(" ", "-") or "-" in category:  # "hot-dog" beside "hot dog"
        plain += f"-{hashlib.sha256(category.encode()).hexdigest()[:8]}"
    return root / FOLDER / f"{plain}.txt"


def read_prompts(path: Path) -> PromptFile:
    """The file's texts, each once. Raises InputError when it cannot be read, or is not UTF-8."""
    if not path.exists():
        return PromptFile()
    try:
        content = read_input(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    source, texts, refused = HAND, dict[str, Candidate](), list[str]()
    for line in content.splitlines():
        text = clean(line)
        if heading := _HEADING.fullmatch(text):
            source = heading[1]
        elif text.startswith("#"):
            if not _is_intro(text) and (comment := text.lstrip("# ")):
                refused.append(comment)
        elif text:
            texts.setdefault(text.casefold(), Candidate(text, source))
    return PromptFile(tuple(texts.values()), tuple(dict.fromkeys(refused)))


def write_prompts(path: Path, category: str, content: PromptFile) -> None:
    """Write the texts under the headings of their sources, the commented ones last."""
    sources = dict.fromkeys([HAND, *(candidate.source for candidate in content.texts)])
    parts = [_INTRO.format(category=category)]
    for source in sources:
        lines = [candidate.text for candidate in content.texts if candidate.source == source]
        if lines:
            parts.append("\n".join([f"[{source}]", *lines]) + "\n")
    if content.refused:
        parts.append("\n".join(f"# {text}" for text in content.refused) + "\n")
    write_text(path, "\n".join(parts))


def file_problems(path: Path, content: PromptFile, checks: Filter) -> list[str]:
    """A line for each text of the file that cannot be a prompt of its category."""
    name = f"{FOLDER}/{path.name}"
    return [
        f'{name}: "{candidate.text}" cannot be used: {reason}; change it, or put # before it'
        for candidate in content.texts
        if (reason := checks.why_not(candidate.text))
    ]


def _is_intro(line: str) -> bool:
    return line.split('"')[0] in _INTRO_LINES

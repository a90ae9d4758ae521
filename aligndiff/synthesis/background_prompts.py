"""Prompts of backgrounds: places, and other things, which may be cut out by their heatmaps."""

from __future__ import annotations

import re
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input
from aligndiff.dataset.bank_checks import parse_entry
from aligndiff.dataset.entries import TextEntry, category_spans
from aligndiff.dataset.layout import BACKGROUNDS

_MOST_BYTES = 2**20
_PLACES = (
    *("a beach", "a street", "a forest", "a meadow", "a kitchen", "a living room", "a desk"),
    *("a mountain lake", "a city square", "a garden", "a wooden floor", "green grass", "sand"),
    *("snow", "water", "the sky", "a stone wall", "a workshop", "a market", "a desert road"),
)
_THINGS = (
    *("car", "boat", "tree", "house", "cup", "chair", "bicycle", "dog", "cat", "bird", "bottle"),
    *("ball", "star", "butterfly", "backpack", "shoe", "lamp", "book", "apple", "clock"),
)


def read_background_prompts(path: Path | None) -> list[TextEntry]:
    """The prompts of a file, or the built-in ones: one entry each.

    A line is a prompt; `thing: prompt` names the thing in it. Empty lines and # comments say
    nothing. Raises InputError with every line that cannot be used.
    """
    if path is None:
        places = [_entry("", f"a photo of {place}") for place in _PLACES]
        return places + [_entry(thing, f"a photo of a {thing}") for thing in _THINGS]
    entries, problems = dict[str, TextEntry](), list[str]()
    text = read_input(path, _MOST_BYTES).decode("utf-8-sig", "backslashreplace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        thing, _, prompt = line.rpartition(": ")
        try:
            entry = _entry(thing.strip(), prompt.strip())
            entries.setdefault(entry.id, entry)
        except InputError as error:
            problems += [f"{path}: line {number}: {problem}" for problem in error.problems]
    if not entries and not problems:
        problems = [f"{path}: holds no prompts; write one a line"]
    if problems:
        raise InputError(problems)
    return list(entries.values())


def thing_of(entry: TextEntry) -> str:
    """The thing that a background's prompt names; "" of a place."""
    return entry.category if entry.support_dir != BACKGROUNDS else ""


def _entry(thing: str, prompt: str) -> TextEntry:
    """An entry as of the prompt bank: step 2 draws a heatmap of one of the prompt's words."""
    words = re.findall(r"\w+", prompt)
    word = thing or (words[-1] if words else "")
    folder = f"{BACKGROUNDS}/{thing}" if thing else BACKGROUNDS
    raw = {"type": "text", "category": word, "D_good_dir": folder, "text": prompt}
    entry, problems = parse_entry(raw)
    if thing and not problems and not category_spans(prompt, thing):
        problems = [f'the prompt does not contain "{thing}"; write the word into it']
    if problems or not isinstance(entry, TextEntry):
        raise InputError(problems or ["is no prompt"])
    return entry

"""What a language model is asked for texts, and the texts in what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from aligndiff.prompts.candidate import Subject

TEXTS_A_CALL = 20
_SHOWN = 12  # texts that the model is told not to repeat
_LONGEST = 300  # characters; a longer line is talk about texts
_SYSTEM = (
    "You write prompts for a text-to-image model. Each is one short plain sentence that describes "
    "a photo: what is to be seen, where, in what light, from where. No style words, no names of "
    "artists, no text in the image."
)
# Small models follow an example where they do not follow a description.
_EXAMPLE = Subject("bench", "", ())
_EXAMPLE_TEXTS = (
    "a photo of a bench under old trees on a foggy morning",
    "a bench at a bus stop at night, seen from across the street",
    "a wide shot of a snowy park with a bench beside a frozen pond",
    "a close-up of a bench on a sunny beach, with a towel on it",
    "a bench in an empty hallway, in the light of a window",
    "an aerial view of a bench on a paved square in the rain",
)
# What later calls ask for: some servers give the same answer to the same question every time.
_THEMES = (
    "indoors",
    "in the open country",
    "in a town",
    "at night or in poor light",
    "in rain, snow or fog",
    "close to water",
    "taken from very near",
    "taken from far away or from above",
)
_MARK = re.compile(r"^\s*(?:[-*\u2022]|\(?\d{1,4}[.):])\s+")
_FENCE = re.compile(r"```\w*\n?")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)


def ask(subject: Subject, known: Sequence[str], number: int = 0) -> list[dict[str, str]]:
    """The messages that ask for texts of a category, in another vein than the last of `known`.

    Each call, by its `number`, has a theme, but for the first. Before it, the same is asked of
    another thing, and answered.
    """
    theme = f" This time, photos {_THEMES[(number - 1) % len(_THEMES)]}." if number else ""
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": _request(_EXAMPLE, (), len(_EXAMPLE_TEXTS))},
        {"role": "assistant", "content": "\n".join(_EXAMPLE_TEXTS)},
        {"role": "user", "content": _request(subject, known, TEXTS_A_CALL, theme)},
    ]


def _request(subject: Subject, known: Sequence[str], count: int, theme: str = "") -> str:
    name = subject.category
    meaning = f' By "{name}" is meant: {subject.definition}.' if subject.definition else ""
    others = f" Do not mention: {', '.join(subject.others[:50])}." if subject.others else ""
    shown = "".join(f"\n- {text}" for text in known[-_SHOWN:])
    before = f"\nThese are there already; write different ones:{shown}" if shown else ""
    return (
        f"Write {count} prompts of photos that show exactly one {name}.{meaning} Each must "
        f'contain the word "{name}" as it is spelled here. Vary place, background, light, weather, '
        f"season, distance, viewpoint and what else is there.{theme}{others} "
        f"Answer with one prompt a line and nothing else.{before}"
    )


def texts_in(answer: str) -> list[str]:
    """The texts of an answer: a JSON list, one that was cut off, or lines with or without marks."""
    plain = _FENCE.sub("", _THOUGHT.sub("", answer)).strip()
    for start in (i for i, letter in enumerate(plain[:2000]) if letter in "[{"):
        try:
            value, _ = json.JSONDecoder().raw_decode(plain[start:])
        except (json.JSONDecodeError, RecursionError):
            continue
        if texts := [text for text in _strings(value) if _is_text(text)]:
            return texts
    if plain.startswith(("[", "{")):
        return [text for text in map(_unescaped, _STRING.findall(plain)) if _is_text(text)]
    lines = (_MARK.sub("", line).strip().rstrip(",").strip("\"'") for line in plain.splitlines())
    return [line for line in lines if _is_text(line)]


def _strings(value: Any) -> Iterator[str]:
    """Every string of a JSON value that is no key."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if _is_list(value) else ():
        yield from _strings(item)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_text(text: str) -> bool:
    return " " in text.strip() and len(text) <= _LONGEST and not text.rstrip().endswith(":")


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except json.JSONDecodeError:
        return text

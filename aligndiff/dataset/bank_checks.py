"""The checks of a prompt bank: each returns its problems as lines, so that all are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from aligndiff.core.errors import printable
from aligndiff.dataset.entries import (
    PLACEHOLDERS,
    Defaults,
    EmbeddingEntry,
    Entry,
    TextEntry,
    category_spans,
)


@dataclass(frozen=True)
class TokenCount:
    """The tokens of a prompt for one text encoder, and the most that it reads; ends included."""

    tokens: int
    most: int


CountTokens = Callable[[str], Sequence[TokenCount]]  # one for each text encoder of the model

# A token takes at least one byte, and no text encoder reads fewer than CLIP's 77 with its start and
# end: a text this short fits, and no tokenizer need be loaded.
_SURELY_FITS = 75
_LATIN_ENDS = 0x250  # of letters, with all their accents
_LONGEST_SLIP = 100  # characters of a word that "did you mean" looks at

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="type")])
_KINDS: dict[str, type[TextEntry] | type[EmbeddingEntry]] = {
    "text": TextEntry,
    "NM_embedding": EmbeddingEntry,
}
_MEANING = {
    "type": '"text" or "NM_embedding"',
    "category": "the noun of the object",
    "D_good_dir": "the folder of its support pairs",
    "text": "the prompt",
    "path": "the folder of support pairs to learn from",
    "mask_class": "which class of the masks is the object",
    "negative_prompt": "what the images are not to show",
    "definition": "what the category means here",
    "source": "where the text comes from",
}


def parse_entry(raw: object) -> tuple[Entry | None, list[str]]:
    """One entry of the JSON, or None and what is wrong with its keys."""
    try:
        return _ENTRY.validate_python(raw), []
    except ValidationError as error:
        kind = _KINDS.get(str(raw.get("type"))) if isinstance(raw, dict) else None
        keys = _keys(kind) if kind else []
        return None, [_explain(detail, keys) for detail in error.errors(include_url=False)]


def parse_defaults(raw: object) -> tuple[Defaults, list[str]]:
    """The "defaults" object of the JSON, or an empty one and what is wrong with it."""
    try:
        return Defaults.model_validate(raw), []
    except ValidationError as error:
        keys = _keys(Defaults)
        return Defaults(), [_explain(detail, keys) for detail in error.errors(include_url=False)]


def check_placeholders(entry: Entry) -> list[str]:
    """Whether a word of the entry is a learned one, which step 2 alone puts into prompts."""
    texts = {"category": entry.category, "negative_prompt": entry.negative_prompt or ""}
    texts["text"] = entry.text or ""
    return [f"{key}: {problem}" for key, text in texts.items() for problem in learned_words(text)]


def learned_words(text: str) -> list[str]:
    """A problem for a text that contains a placeholder token, as "<fss-token>"."""
    match = PLACEHOLDERS.search(text)
    if match is None:
        return []
    return [
        f'"{match[0]}" stands for what step 1 learns, and gets its place in the prompts of '
        "NM_embedding entries by itself; remove it"
    ]


def check_text(entry: Entry) -> list[str]:
    """Whether the category stands in the text, where step 2 looks for its attention."""
    if entry.text is None or category_spans(entry.text, entry.category):
        return []
    tokens = entry.text.split()
    near = did_you_mean(entry.category, tokens) if " " not in entry.category else ""
    problem = f'the category "{entry.category}" is not in the text "{entry.text}"{near}'
    return [f"{problem}; write it there as a whole word"]


def category_notes(category: str) -> list[str]:
    """A note on a category in other than Latin letters."""
    if all(ord(c) < _LATIN_ENDS or not c.isalpha() for c in category):
        return []
    problem = "is not English: the text encoder of Stable Diffusion hardly knows such words"
    return [f'category "{category}": {problem}; the English noun draws it better']


def check_length(entry: Entry, count_tokens: CountTokens) -> list[str]:
    """Whether the entry's prompts fit the text encoder: problems that begin with their key."""
    # The learned word comes on top of the words that are known here.
    learned = int(isinstance(entry, EmbeddingEntry))
    prompts = [("category" if entry.text is None else "text", entry.prompt(), learned)]
    prompts.append(("negative_prompt", entry.negative_prompt or "", 0))
    return [
        f"{key}: {problem}"
        for key, prompt, more in prompts
        for problem in check_prompt_length(prompt, count_tokens, more)
    ]


def check_prompt_length(prompt: str, count_tokens: CountTokens, more: int = 0) -> list[str]:
    """Whether a prompt and `more` tokens fit the text encoder; counts only if they may not."""
    if len(prompt.encode()) <= _SURELY_FITS:
        return []
    cut = [count for count in count_tokens(prompt) if count.tokens + more > count.most]
    if not cut:
        return []
    tokens, most = cut[0].tokens + more, cut[0].most
    return [f"the prompt has {tokens} tokens, the text encoder reads {most}; shorten it"]


def check_against(
    entry: Entry, earlier: Mapping[str, int], learned: Mapping[str, tuple[int, EmbeddingEntry]]
) -> list[str]:
    """Whether the entry repeats an earlier one, or learns one folder as another object.

    `earlier` holds the numbers of the entries before it by their `image_keys`, `learned` the first
    of them that learns a folder, with its number.
    """
    if (keys := entry.image_keys) in earlier:
        return [f"the same as entry {earlier[keys]}; remove one of them"]
    if isinstance(entry, EmbeddingEntry) and entry.path in learned:
        number, first = learned[entry.path]
        if entry.category != first.category:
            problem = f'path: entry {number} learns {entry.path} as "{first.category}"'
            return [f"{problem}; use the same category, or another folder"]
        if entry.mask_class != first.mask_class:
            problem = f"path: entry {number} learns {entry.path} with another mask_class"
            return [f"{problem}; use the same one, or a copy of the folder"]
    return []


def unknown_categories(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """A problem for each category that is asked for and not known."""
    return [
        f'dataset.json: no category "{name}"{did_you_mean(name, known)}; it has {", ".join(known)}'
        for name in asked
        if name not in known
    ]


def unknown_key(key: str, known: Sequence[str]) -> str:
    return f"{key}: unknown key{did_you_mean(key, known)}; the keys are {', '.join(known)}"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """', did you mean "x"?' when a known word is near, else nothing."""
    if len(word) > _LONGEST_SLIP:  # the search takes the square of the length
        return ""
    lowered = {item.lower(): item for item in known if len(item) <= _LONGEST_SLIP}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f' (did you mean "{lowered[near[0]]}"?)' if near else ""


def kind_of(value: object) -> str:
    """How JSON calls a value."""
    if value is None:
        return "null"
    names = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def _keys(model: type[TextEntry] | type[EmbeddingEntry] | type[Defaults]) -> list[str]:
    keys = [item.alias or name for name, item in model.model_fields.items()]
    return sorted(keys, key=list(_MEANING).index) if model is not Defaults else keys


def _explain(detail: ErrorDetails, keys: Sequence[str]) -> str:
    """One of pydantic's errors in our words: which key, what is wrong, what to do."""
    value: Any = detail["input"]
    kind = detail["type"]
    if kind == "union_tag_not_found":
        return f"type: missing; add {_MEANING['type']}"
    if kind == "union_tag_invalid":
        name = str(value.get("type"))
        near = did_you_mean(name, list(_KINDS))
        return f'type: "{name}" is unknown{near}; use {_MEANING["type"]}'
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be an object {{...}}, not {kind_of(value)}"
    key = str(detail["loc"][-1]) if detail["loc"] else "a key"  # one that is no text has no place
    if kind == "missing":
        return f"{key}: missing; add {_MEANING[key]}"
    if kind == "extra_forbidden":
        return unknown_key(key, keys)
    if kind == "string_type":
        return f"{key}: must be a text in quotes, not {kind_of(value)}"
    if kind == "string_too_short":
        return f"{key}: is empty; give {_MEANING.get(key, 'a name or a path')}"
    if kind == "literal_error":
        return f"{key}: must be {detail['ctx']['expected']}, not {value!r}"
    if kind == "string_too_long":
        return (
            f"{key}: has {len(value)} characters; {detail['ctx']['max_length']} at most, shorten it"
        )
    if kind == "string_unicode":
        return f"{key}: holds half a character, which is no text; remove it"
    if kind == "mask_class":
        return f"mask_class: {detail['ctx']['problem']}, not {value!r}"
    if kind == "control_character":
        character = printable(detail["ctx"]["character"])
        return f"{key}: holds {character}, a control character or line break; remove it"
    if kind.startswith("int"):
        return f"{key}: must be a whole number, not {value!r}"
    if kind == "greater_than_equal":
        return f"{key}: must be at least {detail['ctx']['ge']:g}, not {value!r}"
    if kind == "less_than_equal":
        return f"{key}: must be at most {detail['ctx']['le']:g}, not {value!r}"
    return f"{key}: must be a number, not {value!r}"


def folder_keys(entry: Entry) -> list[tuple[str, str]]:
    """(key, folder) of every folder that the entry names."""
    keys = [("D_good_dir", entry.support_dir)]
    return [*keys, ("path", entry.path)] if isinstance(entry, EmbeddingEntry) else keys

"""Which categories of a source are taken, and under which names."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from aligndiff.annotations.source import SourcePair
from aligndiff.core.errors import InputError
from aligndiff.dataset.bank_checks import did_you_mean, parse_entry

Names = dict[str, str]  # the source's own name of a category, and the one it gets


def spoken(name: str) -> str:
    """A source's name as a prompt says it: "metal_nut" is "metal nut"."""
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split())


def choose(pairs: Sequence[SourcePair], requested: Sequence[str], source: str) -> Names:
    """The names of the categories that are taken.

    `requested`: names, or OLD=NEW; none: all that the source names. A source without names (plain
    pairs) takes the one requested. InputError holds every unknown one.
    """
    known = list(dict.fromkeys(pair.category for pair in pairs))
    named = [name for name in known if name]
    if not requested:
        names = {name: spoken(name) for name in named}
        if "" in known:
            example = spoken(source) or "fish"
            what = "its pairs are in no folder named after what they show"
            raise InputError(f"--category: missing; {what}: add --category {_quoted(example)}")
    elif not named:
        if len(requested) > 1:
            what = f"{source}: its pairs have no categories of their own"
            raise InputError(f"{what}; give one --category, not {len(requested)}")
        names = {"": spoken(requested[0].split("=")[-1])}
    else:
        names = _select(known, requested)
    problems = [p for name in dict.fromkeys(names.values()) for p in _check(name)]
    if problems:
        raise InputError(problems)
    return names


def _select(known: Sequence[str], requested: Sequence[str]) -> Names:
    """The requested ones, found in any case and with "_" for a space."""
    by_key = {_key(name): name for name in known if name}
    names: Names = {}
    problems = []
    for word in requested:
        old, equals, new = word.partition("=")
        if _key(word) in by_key:  # a name may hold "=" itself
            old, new = word, ""
        if _key(old) in by_key:
            found = by_key[_key(old)]
            names[found] = spoken(new) if new.strip() else spoken(found)
        elif "" in known and not equals and "" not in names:
            names[""] = spoken(word)  # pairs beside those in named folders
        else:
            shown = ", ".join(spoken(name) for name in by_key.values())
            near = did_you_mean(old, [spoken(name) for name in by_key.values()])
            first = next(iter(by_key))
            remedy = f"to rename one: --category {_quoted(f'{by_key[first]}={old}')}"
            problems.append(f'no category "{old}" in SOURCE{near}; it has {shown}; {remedy}')
    if problems:
        raise InputError(problems)
    return names


def _check(name: str) -> list[str]:
    """What the prompt bank would say of a category of that name."""
    raw = {"type": "text", "category": name, "D_good_dir": "a", "text": f"a photo of a {name}"}
    _, problems = parse_entry(raw)
    return [f"category {name!r}: {problem}" for problem in problems if "text" not in problem[:5]]


def _key(name: str) -> str:
    return spoken(name).casefold()


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name

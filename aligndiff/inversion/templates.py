"""The prompts that step 1 trains under: sets of templates, the object in the place of `{}`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_input
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.dataset.samples import sample_seed

PLACE = "{}"
_MOST_BYTES = 2**20
# Textual inversion (Gal et al., 2023) trains under neutral sentences: what differs between them
# cannot enter the vectors. Ours say nothing of colours, places or company.
SETS = {
    "photo": ("a photo of a {}",),
    "object": (
        *("a photo of a {}", "a photo of the {}", "a photo of one {}", "a photo of my {}"),
        *("a picture of a {}", "a picture of the {}", "an image of a {}", "a photograph of a {}"),
        *("a close photo of a {}", "a close photo of the {}", "a cropped photo of a {}"),
        *("a good photo of a {}", "a good photo of the {}", "a bad photo of a {}"),
        *("a bright photo of a {}", "a dark photo of the {}", "a clear photo of a {}"),
        *("a blurred photo of the {}", "a photo of a small {}", "a photo of a large {}"),
        *("a photo of a nice {}", "a photo of a clean {}", "a photo that shows a {}"),
    ),
}


@dataclass(frozen=True)
class TrainingTexts:
    """The prompts of one object, placeholder tokens spelled out, and its category in them."""

    prompts: tuple[str, ...]
    category: str


def training_texts(
    category: str, vectors: int, templates: Sequence[str] = SETS["photo"]
) -> TrainingTexts:
    """The templates with the learned words as the category's adjective."""
    return spelled_out(category, placeholder_tokens(vectors), templates)


def spelled_out(
    category: str, words: Sequence[str], templates: Sequence[str] = SETS["photo"]
) -> TrainingTexts:
    """The templates with `words` before the category."""
    phrase = " ".join([*words, category])
    return TrainingTexts(tuple(text.replace(PLACE, phrase) for text in templates), category)


def shuffled_prompts(texts: TrainingTexts, seed: int) -> Iterator[str]:
    """The prompts without an end, in rounds of another order each."""
    rng = np.random.default_rng(sample_seed(seed, "templates", 0))
    while True:
        for number in rng.permutation(len(texts.prompts)):
            yield texts.prompts[number]


def read_templates(name: str) -> tuple[str, ...]:
    """The templates of a set by its name, else of a text file: a line each.

    Empty lines and lines that begin with # are left out. InputError names every line without
    exactly one `{}`.
    """
    if name in SETS:
        return SETS[name]
    path = Path(name).expanduser()
    if not path.exists():
        raise InputError(
            f"--templates {name}: no such file; name a text file, or one of {', '.join(SETS)}"
        )
    try:
        lines = read_input(path, _MOST_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"--templates {name}: not UTF-8 text; save it as UTF-8") from None
    texts = {
        number: " ".join(line.split())
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    problems = [
        f"{name}, line {number}: needs {PLACE} once, where the object goes: {text!r}"
        for number, text in texts.items()
        if text.count(PLACE) != 1
    ]
    if not texts:
        problems.append(f"--templates {name}: is empty; write a template a line, such as {_LIKE}")
    if problems:
        raise InputError(problems)
    return tuple(dict.fromkeys(texts.values()))


_LIKE = repr(SETS["photo"][0])


def templates_setting(name: str) -> dict[str, Any]:
    """What the record says of the templates; nothing of the method's own."""
    templates = read_templates(name)
    return {} if templates == SETS["photo"] else {"templates": list(templates)}

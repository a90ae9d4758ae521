"""Texts from a grid of places, light, distances and company: no network and no model."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from aligndiff.core.options import Options, option
from aligndiff.prompts.candidate import Candidate, Subject, article
from aligndiff.prompts.kinds import Kind, kind_of
from aligndiff.prompts.sources.source import Request, TextSource

_SETTINGS = ("outdoors", "indoors")
_PLAIN = "a photo"  # the distance of a text that names none
# How often a text names each: short texts are obeyed better, and all of them fit 77 tokens.
_SHARES = {"place": 0.75, "season": 0.35, "company": 0.4, "light": 0.5, "viewpoint": 0.4}
_LEAST_POOL, _LARGEST_POOL, _POOL = 400, 20_000, 10  # texts to choose from; for each that is needed
_TRIES = 20  # draws for each text that is asked for; a small grid runs out


@dataclass(frozen=True)
class Grid:
    """The phrases of a kind; of `place`, `season` and `light` those of one setting."""

    phrases: dict[str, list[str]]
    clashes: list[list[str]]

    def draw(self, category: str, rng: random.Random) -> str:
        """A text: "a close-up photo of a dog alone in the snow, at sunset, seen from above"."""
        parts = {axis: rng.choice(items) if items else "" for axis, items in self.phrases.items()}
        for axis, share in _SHARES.items():
            if rng.random() >= share and axis in parts and axis != "place":
                parts[axis] = ""
        # A place or a surface: "in a forest on wet sand" is neither.
        parts["material" if rng.random() < _SHARES["place"] else "place"] = ""
        if rng.random() < 0.5:
            parts["distance"] = _PLAIN
        thing = f"{parts['distance']} of {article(category)} {category}"
        body = [
            thing,
            *(parts.get(axis, "") for axis in ("company", "place", "material", "season")),
        ]
        ends = [parts.get("light", ""), parts.get("viewpoint", "")]
        return ", ".join([" ".join(filter(None, body)), *filter(None, ends)])

    def fits(self, text: str) -> bool:
        return not any(all(word in text for word in pair) for pair in self.clashes)


@dataclass(frozen=True)
class TemplateOptions(Options):
    """The templates."""

    templates: bool = option(
        False, "texts from a grid of phrases; the only source unless another is named"
    )
    kind: Kind | None = option(
        None, "which grid", shown_default="by the category and its definition, else object"
    )


def propose(options: TemplateOptions, request: Request) -> dict[Subject, list[Candidate]]:
    """Texts for every subject, many more than are needed: the choice is for spread."""
    proposed = {}
    for subject, count in request.needs.items():
        pool = min(max(_LEAST_POOL, _POOL * count), _LARGEST_POOL)
        texts = draw_texts(subject, options.kind, pool, request.seed)
        proposed[subject] = [Candidate(text, SOURCE.name) for text in texts]
        request.advance(count, subject.category)
    return proposed


def draw_texts(subject: Subject, kind: Kind | None, count: int, seed: int) -> Iterator[str]:
    """Up to `count` different texts from the grid of the kind; `seed` decides them."""
    rng = random.Random(f"{seed} {subject.category}")
    grids = read_grids(kind or kind_of(subject.category, subject.definition))
    seen: set[str] = set()
    for _ in range(_TRIES * count):
        if len(seen) == count:
            return
        grid = rng.choice(grids)
        text = grid.draw(subject.category, rng)
        if text not in seen and grid.fits(text):
            seen.add(text)
            yield text


@cache
def read_grids(kind: Kind) -> list[Grid]:
    """The grid of a kind outdoors and indoors."""
    folder = files("aligndiff.prompts") / "grids"
    content: dict[str, Any] = {}
    for name in ("common", kind):
        content |= _merged(content, tomllib.loads((folder / f"{name}.toml").read_text("utf-8")))
    clashes = content.pop("clashes")
    return [
        Grid({axis: _of(items, setting) for axis, items in content.items()}, clashes)
        for setting in _SETTINGS
    ]


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`; of a list by setting only the settings that it names."""
    return {
        axis: {**below[axis], **items} if isinstance(below.get(axis), dict) else items
        for axis, items in above.items()
    }


def _of(items: list[str] | dict[str, list[str]], setting: str) -> list[str]:
    return items.get(setting, []) if isinstance(items, dict) else items


SOURCE = TextSource(
    name="templates",
    doing="drawing templates",
    options=TemplateOptions,
    is_asked=lambda options: options.templates,
    check=lambda options: None,
    steps=lambda options, request: sum(request.needs.values()),
    propose=propose,
)

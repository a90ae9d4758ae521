"""Texts from the grids: of every kind, in whole sentences, the same for the same seed."""

from __future__ import annotations

import re

import pytest

from aligndiff.dataset.entries import category_spans
from aligndiff.prompts.candidate import Subject
from aligndiff.prompts.kinds import KINDS, Kind, kind_of
from aligndiff.prompts.sources.templates import draw_texts, read_grids


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_many_texts_that_name_the_category_once(kind: Kind) -> None:
    texts = list(draw_texts(Subject("albatross"), kind, 300, seed=0))
    assert len(set(texts)) == 300
    for text in texts:
        assert len(category_spans(text, "albatross")) == 1
        assert re.search(r" of an albatross\b", text)
        assert "  " not in text and " ," not in text and not text.endswith(",")
        assert len(text) < 150  # some 35 tokens of 77


def test_the_seed_decides_the_texts() -> None:
    first, again, other = (list(draw_texts(Subject("dog"), None, 20, seed)) for seed in (1, 1, 2))
    assert first == again
    assert len(set(first) & set(other)) < 5


def test_no_text_contradicts_itself() -> None:
    texts = list(draw_texts(Subject("dog"), "animal", 3000, seed=0))
    assert not [text for text in texts if "snow" in text and "summer" in text]
    indoors = [phrase for phrase in read_grids("animal")[1].phrases["place"]]
    for text in texts:
        if any(place in text for place in indoors):
            assert not re.search(r"sunlight|sunset|sky|in winter|rainy", text), text


@pytest.mark.parametrize(
    ("category", "definition", "kind"),
    [
        ("dog", "", "animal"),
        ("fish", "", "aquatic"),
        ("claw hammer", "", "tool"),
        ("apples", "", "food"),
        ("fire truck", "", "vehicle"),
        ("hex nut", "", "food"),
        ("hex nut", "a part of a machine", "part"),
        ("paint scratch", "", "defect"),
        ("gizmo", "", "object"),
        ("hot dog", "", "object"),
        ("hot dog", "a food", "food"),
        ("gizmo", "a kitchen tool", "tool"),
        ("crane", "a tall wading bird", "animal"),
        ("crane", "a machine for lifting cars", "object"),
    ],
)
def test_the_kind_follows_from_the_name_and_its_definition(
    category: str, definition: str, kind: Kind
) -> None:
    assert kind_of(category, definition) == kind

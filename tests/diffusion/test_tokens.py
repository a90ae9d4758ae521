"""Where a category stands in the token sequence."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.diffusion.tokens import category_token_indices


@pytest.fixture
def tokenizer(tiny_pipeline_dir: Path) -> CLIPTokenizer:
    """With room for three learned words."""
    tokenizer = CLIPTokenizer.from_pretrained(tiny_pipeline_dir / "tokenizer")
    tokenizer.add_tokens(placeholder_tokens(3))
    return tokenizer


def words_at(tokenizer: CLIPTokenizer, prompt: str, category: str) -> list[str]:
    ids = tokenizer(prompt).input_ids
    columns = category_token_indices(tokenizer, prompt, category)
    return tokenizer.convert_ids_to_tokens([ids[column] for column in columns])


def test_one_token_and_two(tokenizer: CLIPTokenizer) -> None:
    assert category_token_indices(tokenizer, "a photo of a dog", "dog") == [5]
    assert category_token_indices(tokenizer, "a photo of an albatross on water", "albatross") == [
        5,
        6,
    ]
    assert words_at(tokenizer, "an albatross on water", "albatross") == ["alba", "tross</w>"]


def test_every_occurrence_counts_in_any_case(tokenizer: CLIPTokenizer) -> None:
    assert category_token_indices(tokenizer, "Dog, a photo of a dog on a DOG", "dog") == [1, 7, 10]


def test_several_words_with_any_white_space(tokenizer: CLIPTokenizer) -> None:
    assert category_token_indices(tokenizer, "a photo of water  dog", "water dog") == [4, 5]


def test_a_word_that_only_contains_the_category_is_no_occurrence(tokenizer: CLIPTokenizer) -> None:
    assert category_token_indices(tokenizer, "a dogfish on a dog", "dog") == [
        len(tokenizer("a dogfish on a").input_ids) - 1
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_learned_words_move_the_columns_and_are_never_among_them(
    tokenizer: CLIPTokenizer, count: int
) -> None:
    prompt = " ".join(["a photo of a", *placeholder_tokens(count), "dog"])
    assert category_token_indices(tokenizer, prompt, "dog") == [5 + count]
    with_token = " ".join(["a photo of a", *placeholder_tokens(count), "token"])
    assert words_at(tokenizer, with_token, "token")[0] == "t"
    assert min(category_token_indices(tokenizer, with_token, "token")) == 5 + count


def test_a_category_that_is_not_there_is_an_error(tokenizer: CLIPTokenizer) -> None:
    with pytest.raises(InputError, match="category 'fish' is not in the prompt 'a photo of a dog'"):
        category_token_indices(tokenizer, "a photo of a dog", "fish")

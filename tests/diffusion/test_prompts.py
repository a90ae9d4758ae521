"""Which of an attention layer's keys a category is, by what the text encoder receives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.prompts import encode
from aligndiff.diffusion.vectors import Embedding


@pytest.fixture(scope="module")
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    return load_pipeline(chosen, torch.device("cpu"), torch.float32)


def keys(
    pipe: StableDiffusionPipeline, prompt: str, category: str, vectors: int = 0
) -> tuple[int, ...]:
    learned = Embedding({"text_encoder": torch.zeros(vectors, 32)}) if vectors else None
    return encode(pipe, prompt, learned, category=category).token_indices


def words_at(
    pipe: StableDiffusionPipeline, prompt: str, category: str, vectors: int = 0
) -> list[str]:
    columns = keys(pipe, prompt, category, vectors)
    ids = pipe.tokenizer(prompt).input_ids
    return list(pipe.tokenizer.convert_ids_to_tokens([ids[column] for column in columns]))


def test_one_token_and_two(pipe: StableDiffusionPipeline) -> None:
    assert keys(pipe, "a photo of a dog", "dog") == (5,)
    assert keys(pipe, "a photo of an albatross on water", "albatross") == (5, 6)
    assert words_at(pipe, "an albatross on water", "albatross") == ["alba", "tross</w>"]


def test_every_occurrence_counts_in_any_case(pipe: StableDiffusionPipeline) -> None:
    assert keys(pipe, "Dog, a photo of a dog on a DOG", "dog") == (1, 7, 10)


def test_several_words_with_any_white_space(pipe: StableDiffusionPipeline) -> None:
    assert keys(pipe, "a photo of water  dog", "water dog") == (4, 5)


def test_a_word_that_only_contains_the_category_is_no_occurrence(
    pipe: StableDiffusionPipeline,
) -> None:
    assert keys(pipe, "a dogfish on a dog", "dog") == (
        len(pipe.tokenizer("a dogfish on a").input_ids) - 1,
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_learned_words_move_the_columns_and_are_never_among_them(
    pipe: StableDiffusionPipeline, count: int
) -> None:
    prompt = " ".join(["a photo of a", *placeholder_tokens(count), "dog"])
    assert keys(pipe, prompt, "dog", count) == (5 + count,)
    with_token = " ".join(["a photo of a", *placeholder_tokens(count), "token"])
    assert words_at(pipe, with_token, "token", count)[0] == "t"
    assert min(keys(pipe, with_token, "token", count)) == 5 + count


def test_a_category_that_is_not_there_is_an_error(pipe: StableDiffusionPipeline) -> None:
    with pytest.raises(InputError, match="category 'fish' is not in the prompt 'a photo of a dog'"):
        keys(pipe, "a photo of a dog", "fish")

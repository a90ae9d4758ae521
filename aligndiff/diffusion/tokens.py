"""Tokens: where a category stands in a prompt, and where an embedding starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import PLACEHOLDER, category_spans

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTokenizer


def category_token_indices(tokenizer: CLIPTokenizer, prompt: str, category: str) -> list[int]:
    """Indices of every token of every occurrence of `category`, ascending, in 0..76.

    `prompt` is the converted one, with its placeholder tokens spelled out; they never
    count as the category's. A category may be several tokens, and may occur several times.
    Raises InputError when the category is not in the prompt.
    """
    encoded = tokenizer(prompt, return_offsets_mapping=True)
    spans = category_spans(prompt, category)
    placeholders = {
        token_id
        for token, token_id in tokenizer.get_added_vocab().items()
        if token.startswith(PLACEHOLDER)
    }
    token_indices = [
        index
        for index, (token_id, (start, end)) in enumerate(
            zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        )
        if token_id not in placeholders
        and end > start
        and any(start < span_end and end > span_start for span_start, span_end in spans)
    ]
    if not token_indices:
        raise InputError(f"category {category!r} is not in the prompt {prompt!r}")
    return token_indices


def initial_vectors(pipe: StableDiffusionPipeline, word: str, vectors: int) -> torch.Tensor:
    """float32 (vectors, d): the initializer's vector for each one; their places tell them apart."""
    token_id = initializer_id(pipe.tokenizer, word)
    table = pipe.text_encoder.get_input_embeddings().weight
    return table[token_id].detach().float().repeat(vectors, 1)


def initializer_id(tokenizer: CLIPTokenizer, word: str) -> int:
    """The token of the initializer word. Raises InputError when it is unknown or several tokens."""
    ids = tokenizer(word, add_special_tokens=False).input_ids
    if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
        return int(ids[0])
    pieces = " ".join(tokenizer.convert_ids_to_tokens(ids)) if len(ids) > 1 else "unknown"
    raise InputError(
        f"--initializer {word}: must be one token of the diffusion model's vocabulary, is {pieces};"
        " choose a common word, such as good"
    )

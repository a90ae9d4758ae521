"""Where a category stands in the token sequence of a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aligndiff.core.errors import InputError
from aligndiff.dataset.prompt_bank import PLACEHOLDER, category_spans

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


def category_columns(tokenizer: CLIPTokenizer, prompt: str, category: str) -> list[int]:
    """Columns of every token of every occurrence of `category`, ascending, in 0..76.

    `prompt` is the converted one, with its placeholder tokens spelled out; these are never
    columns of the category. A category may be several tokens, and may occur several times.
    Raises InputError when the category is not in the prompt.
    """
    encoded = tokenizer(prompt, return_offsets_mapping=True)
    spans = category_spans(prompt, category)
    placeholders = {
        token_id
        for token, token_id in tokenizer.get_added_vocab().items()
        if token.startswith(PLACEHOLDER)
    }
    columns = [
        column
        for column, (token_id, (start, end)) in enumerate(
            zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        )
        if token_id not in placeholders
        and end > start
        and any(start < span_end and end > span_start for span_start, span_end in spans)
    ]
    if not columns:
        raise InputError(f"category {category!r} is not in the prompt {prompt!r}")
    return columns

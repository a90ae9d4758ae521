"""Words that tokenizers know, asked before a model is loaded."""

from __future__ import annotations

from typing import Any

from aligndiff.core.errors import InputError


def initializer_id(tokenizer: Any, word: str) -> int:
    """The token of the initializer word. Raises InputError when it is unknown or several tokens."""
    # Many vocabularies hold a word with the space before it.
    for text in (f" {word}", word):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            return int(ids[0])
    pieces = " ".join(tokenizer.convert_ids_to_tokens(ids)) if len(ids) > 1 else "unknown"
    raise InputError(
        f"--initializer {word}: must be one token of the diffusion model's vocabulary, is {pieces};"
        " choose a common word, such as good"
    )

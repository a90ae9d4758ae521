"""Where the rows of a placeholder start: at the embedding of a common word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aligndiff.core.errors import InputError

if TYPE_CHECKING:
    import torch
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTokenizer


def initial_rows(pipe: StableDiffusionPipeline, word: str, vectors: int) -> torch.Tensor:
    """float32 (vectors, d): the initializer's row for each vector; positions tell them apart."""
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

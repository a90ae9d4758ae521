"""The learned vectors of an object: placeholder tokens that every text encoder reads as them.

The tokens are added to the tokenizers only. While a text encoder looks up its embeddings, those of
the placeholders are given instead: no table grows, is copied or is written to, and where the
vectors are leaves, gradients reach them and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.diffusion.pipeline import text_encoders, tokenizers
from aligndiff.diffusion.tokens import initializer_id

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class Embedding:
    """The learned vectors of an object, float32 (n, d) for each text encoder, by its name."""

    vectors: Mapping[str, Tensor]

    def __len__(self) -> int:
        """How many tokens of a prompt it takes."""
        return len(next(iter(self.vectors.values())))

    def on_cpu(self) -> Embedding:
        """The same numbers on the CPU, apart from any graph."""
        return Embedding({name: part.detach().cpu() for name, part in self.vectors.items()})


def add_placeholders(pipe: DiffusionPipeline, count: int) -> dict[str, list[int]]:
    """Token ids of `count` placeholders in each text encoder's tokenizer. Does nothing twice."""
    tokens = placeholder_tokens(count)
    ids = {}
    for name, tokenizer in tokenizers(pipe).items():
        known = tokenizer.get_vocab()
        tokenizer.add_tokens([token for token in tokens if token not in known])
        ids[name] = [int(number) for number in tokenizer.convert_tokens_to_ids(tokens)]
    return ids


def initial_vectors(pipe: DiffusionPipeline, words: Sequence[str], count: int) -> Embedding:
    """`count` vectors, each of its own initializer word, or all of the only one.

    Vectors of one word are told apart by their places in a prompt.
    """
    words = list(words) * count if len(words) == 1 else words
    vectors = {}
    for name, tokenizer in tokenizers(pipe).items():
        ids = [initializer_id(tokenizer, word) for word in words]
        vectors[name] = _table(pipe, name)[ids].float()
    return Embedding(vectors)


def mean_lengths(pipe: DiffusionPipeline) -> dict[str, float]:
    """The mean length of each text encoder's vectors, over its whole vocabulary."""
    return {
        name: torch.linalg.vector_norm(_table(pipe, name), dim=-1, dtype=torch.float32)
        .mean()
        .item()
        for name in text_encoders(pipe)
    }


def word_directions(pipe: DiffusionPipeline, words: str) -> dict[str, Tensor]:
    """The direction of some words in each text encoder's vocabulary, float32 (d,) of length 1."""
    directions = {}
    for name, tokenizer in tokenizers(pipe).items():
        ids = tokenizer(f" {words}", add_special_tokens=False).input_ids
        mean = _table(pipe, name)[ids].float().mean(0)
        directions[name] = functional.normalize(mean, dim=-1)
    return directions


def _table(pipe: DiffusionPipeline, encoder: str) -> Tensor:
    """The vectors of a text encoder's vocabulary, (words, d)."""
    table: Tensor = text_encoders(pipe)[encoder].get_input_embeddings().weight
    return table.detach()


def check_fit(embedding: Embedding, pipe: DiffusionPipeline) -> None:
    """Raise InputError when an embedding was learned for other text encoders than the model's."""
    widths = {
        name: encoder.get_input_embeddings().embedding_dim
        for name, encoder in text_encoders(pipe).items()
    }
    learned = {name: vectors.shape[-1] for name, vectors in embedding.vectors.items()}
    if widths != learned:
        raise InputError(
            f"learned embedding with vectors of {_listed(learned)} numbers, but this model's text "
            f"encoder takes {_listed(widths)}: it was learned with another model; learn it again "
            "with python -m scripts.image_mask_inversion --overwrite"
        )


def _listed(widths: Mapping[str, int]) -> str:
    return " + ".join(str(width) for _, width in sorted(widths.items()))


@contextmanager
def with_vectors(pipe: DiffusionPipeline, embedding: Embedding | None) -> Iterator[None]:
    """While open, text encoders read the placeholder tokens as the vectors of `embedding`.

    Gradients reach the vectors. None: nothing is changed. Raises InputError for vectors that were
    learned with another model.
    """
    if embedding is None:
        yield
        return
    check_fit(embedding, pipe)
    ids = add_placeholders(pipe, len(embedding))
    encoders = text_encoders(pipe)
    lookups = [_Lookup(encoders[name], ids[name], embedding.vectors[name]) for name in encoders]
    with _Substitution(lookups):
        try:
            yield
        finally:
            for lookup in lookups:
                lookup.remove()


class _Lookup:
    """One text encoder's placeholders: where they are in the ids that it is given."""

    def __init__(self, encoder: nn.Module, ids: Sequence[int], vectors: Tensor) -> None:
        self.vectors = vectors
        self.places: list[Tensor] | None = None  # bool, of the ids' shape; None: not running
        self._ids = ids
        self._table = encoder.get_input_embeddings().weight.shape  # type: ignore[operator]
        self._handles = (
            encoder.register_forward_pre_hook(self._begin, with_kwargs=True),
            encoder.register_forward_hook(self._end, always_call=True),
        )

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def is_table(self, weight: Tensor) -> bool:
        """By its shape: an offloaded or shared table may be another tensor."""
        return self.places is not None and weight.shape == self._table

    def _begin(self, _encoder: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Give the encoder ids of its own vocabulary.

        Placeholders beyond it would be out of its table, and CLIP encoders with the end token of
        old configurations take the highest id for the end of the text.
        """
        ids = args[0] if args else kwargs["input_ids"]
        self.places = [ids == number for number in self._ids]
        known = ids.masked_fill(torch.stack(self.places).any(0), 0)
        return ((known, *args[1:]), kwargs) if args else (args, {**kwargs, "input_ids": known})

    def _end(self, *_: Any) -> None:
        self.places = None


class _Substitution(TorchFunctionMode):
    """Gives the vectors of placeholders wherever a running text encoder looks up its tokens."""

    def __init__(self, lookups: Sequence[_Lookup]) -> None:
        super().__init__()
        self._lookups = lookups

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is functional.embedding:
            weight = args[1] if len(args) > 1 else (kwargs or {})["weight"]
            for lookup in self._lookups:
                if lookup.is_table(weight):
                    for place, vector in zip(lookup.places or (), lookup.vectors, strict=True):
                        output = torch.where(place[..., None], vector.to(output), output)
        return output

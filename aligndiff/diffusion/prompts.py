"""Prompts as a pipeline encodes them: once, by its own code, and which keys a category is.

A pipeline's call asks its `encode_prompt` for what the denoiser reads. Here that is answered from
what was encoded before, for one image, repeated for as many as the call draws.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils import _pytree as tree

from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.dataset.entries import PLACEHOLDER, category_spans
from aligndiff.diffusion.families import Family
from aligndiff.diffusion.pipeline import (
    family_of,
    guidance_arguments,
    size_step,
    text_encoders,
    tokenizers,
)
from aligndiff.diffusion.vectors import Embedding, add_placeholders, with_vectors

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

TEXTS = [f"{start}prompt{end}" for start in ("", "negative_") for end in ("", "_2", "_3")]
GUIDED = 2.0  # any scale above 1: with it both halves are encoded


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as the denoiser takes it, with the one that guidance leads away from.

    Attributes:
        prompt, negative_prompt: with placeholder tokens spelled out.
        embedding: the vectors of these.
        token_indices: where the category is among an attention layer's keys, by its `TextTokens`:
            from the first key, or, if negative, from the last; counted after the image's positions
            where the family's text stands there.
        answers: what the pipeline's `encode_prompt` gave for one image, by its texts.
    """

    prompt: str
    negative_prompt: str = ""
    embedding: Embedding | None = None
    token_indices: tuple[int, ...] = ()
    answers: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def leaf(self) -> EncodedPrompt:
        """The same numbers cut from their graph: a copy that collects gradients in their place."""
        answers = tree.tree_map(_leaf, self.answers)
        return EncodedPrompt(
            self.prompt, self.negative_prompt, self.embedding, self.token_indices, answers
        )

    def tensors(self) -> list[Tensor]:
        """The tensors with a gradient, in one order for this and its `leaf`."""
        return [
            item
            for item in tree.tree_leaves(self.answers)
            if isinstance(item, Tensor) and item.requires_grad
        ]


def _leaf(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.detach().requires_grad_(item.requires_grad)
    return item


def encode(
    pipe: DiffusionPipeline,
    prompt: str,
    embedding: Embedding | None = None,
    negative_prompt: str = "",
    guided: bool = False,
    category: str | None = None,
) -> EncodedPrompt:
    """Encode a prompt for one image by the pipeline's own call; placeholder tokens are spelled out.

    With `guided` the negative prompt too. With `category`, its tokens are looked for. Gradients
    reach the vectors of `embedding`, if asked for. Raises InputError for a prompt that is too long,
    or does not contain the category.
    """
    if embedding is not None:
        add_placeholders(pipe, len(embedding))
    with _hearing(pipe, category) as heard:
        for text in (prompt, negative_prompt):
            check_length(_tokenizers(pipe), family_of(pipe), text)
        encoded = EncodedPrompt(prompt, negative_prompt, embedding)
        with reading(pipe, encoded), _stopped_after_text(pipe):
            step = size_step(pipe)
            arguments = call_arguments(pipe, encoded, 1, (step, step), GUIDED if guided else 1.0)
            inspect.unwrap(type(pipe).__call__)(pipe, **arguments)
    if category is None:
        return encoded
    indices = tuple(heard.category_indices(family_of(pipe), prompt, category))
    return EncodedPrompt(prompt, negative_prompt, embedding, indices, encoded.answers)


def call_arguments(
    pipe: DiffusionPipeline,
    prompt: EncodedPrompt,
    count: int,
    size: tuple[int, int],
    guidance_scale: float,
) -> dict[str, Any]:
    """What every call of the pipeline is given, for `count` images of `size` (h, w) pixels."""
    family = family_of(pipe)
    arguments = {
        "prompt": [prompt.prompt] * count,
        "height": size[0],
        "width": size[1],
        **guidance_arguments(pipe, guidance_scale),
        **family.arguments,
    }
    if family.has_negative and guidance_scale > 1:
        arguments["negative_prompt"] = [prompt.negative_prompt] * count
    return arguments


@contextmanager
def reading(pipe: Any, prompt: EncodedPrompt) -> Iterator[None]:
    """While open, the pipeline's calls read `prompt`: each of its texts is encoded only once.

    What is encoded joins `prompt.answers`. A prompt's placeholder tokens stand for themselves:
    diffusers' own expansion of several vectors would spell them out twice.
    """
    real = pipe.encode_prompt
    signature = inspect.signature(real)

    def encode_prompt(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        given = bound.arguments
        first = given.get("prompt", "")
        count = len(first) if isinstance(first, list) else 1
        for name in TEXTS:
            if isinstance(given.get(name), list):
                given[name] = given[name][:1]
        switches = (given.get("do_classifier_free_guidance"),)
        key = (*(str(given.get(name)) for name in TEXTS), *switches)
        if key not in prompt.answers:
            with with_vectors(pipe, prompt.embedding):
                prompt.answers[key] = real(*bound.args, **bound.kwargs)
        return _repeated(prompt.answers[key], count)

    def as_it_is(text: Any, tokenizer: Any) -> Any:
        return text

    own: dict[str, Callable[..., Any]] = {"encode_prompt": encode_prompt}
    if hasattr(pipe, "maybe_convert_prompt"):
        own["maybe_convert_prompt"] = as_it_is
    with _instead(pipe, own):
        yield


def _repeated(answer: Any, count: int) -> Any:
    """What was encoded for one image, for `count`: rows of tensors, items of lists."""
    if isinstance(answer, Tensor):  # position ids have no batch axis and more rows
        return answer.expand(count, *answer.shape[1:]) if len(answer) == 1 else answer
    if isinstance(answer, list):
        return [item for item in answer for _ in range(count)]
    if isinstance(answer, tuple):
        return tuple(_repeated(item, count) for item in answer)
    return answer


@contextmanager
def _instead(thing: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """While open, an object has `values` as attributes of its own; afterwards what it had."""
    earlier = {name: thing.__dict__[name] for name in values if name in thing.__dict__}
    thing.__dict__.update(values)
    try:
        yield
    finally:
        for name in values:
            del thing.__dict__[name]
        thing.__dict__.update(earlier)


class _TextDoneError(Exception):
    """The pipeline has encoded its texts."""


@contextmanager
def _stopped_after_text(pipe: Any) -> Iterator[None]:
    """Leave the block when the pipeline's call, after its texts, turns to the latents."""

    def stop(*_: Any, **__: Any) -> None:
        raise _TextDoneError

    with _instead(pipe, {"prepare_latents": stop}):
        try:
            yield
        except _TextDoneError:
            return
    raise AlignDiffError(f"{type(pipe).__name__} drew without preparing latents")


# Where a category is


def _tokenizers(pipe: DiffusionPipeline) -> dict[str, Any]:
    """By the names of the pipeline's components, as in `Family.limits`."""
    return {
        name.replace("text_encoder", "tokenizer"): tokenizer
        for name, tokenizer in tokenizers(pipe).items()
    }


def check_length(parts: Mapping[str, Any], family: Family, prompt: str) -> None:
    """Raise InputError for a prompt that a text encoder would cut; `parts`: the tokenizers."""
    for name, limit in family.limits.items():
        if name not in parts:
            continue
        count = len(parts[name](prompt).input_ids)
        if count > (most := min(limit, parts[name].model_max_length)):
            raise InputError(
                f"prompt of {count} tokens, but the text encoder reads {most} at most: shorten it: "
                f"{prompt!r}"
            )


class _Tokenizer:
    """A tokenizer that remembers what it is asked to encode."""

    def __init__(self, real: Any) -> None:
        self.__dict__["real"] = real
        self.__dict__["calls"] = []

    def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
        first = text[0] if isinstance(text, list) else text
        if isinstance(first, str):
            self.calls.append((first, kwargs.get("add_special_tokens", True)))
        return self.real(text, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["real"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real, name, value)

    def __len__(self) -> int:
        return len(self.real)


@dataclass
class _Heard:
    """What the text encoders received for a prompt: their tokenizers, and the ids of the first."""

    tokenizers: dict[str, _Tokenizer]
    ids: dict[str, list[int]] = field(default_factory=dict)

    def category_indices(self, family: Family, prompt: str, category: str) -> Iterator[int]:
        """The indices of `EncodedPrompt`: every token of every occurrence of the category.

        Placeholders never count. A category may be several tokens, and occur several times. Raises
        InputError when it is not in the prompt.
        """
        indices = []
        for text in family.text:
            if text.encoder not in self.ids:
                continue
            received = self.ids[text.encoder]
            for position in self._positions(text.encoder, prompt, category):
                end = len(received) if text.from_end else 0
                indices.append(position + text.offset - end)
        if not indices:
            raise InputError(f"category {category!r} is not in the prompt {prompt!r}")
        yield from indices

    def _positions(self, encoder: str, prompt: str, category: str) -> Iterator[int]:
        """Positions of the category among the ids that one text encoder received."""
        received, tokenizer = self.ids[encoder], self.tokenizers[encoder]
        placeholders = {
            number
            for token, number in tokenizer.get_added_vocab().items()
            if token.startswith(PLACEHOLDER)
        }
        for text, special in reversed(tokenizer.calls):
            begin = text.lower().rfind(prompt.strip().lower())
            if begin < 0:
                continue
            tokens = tokenizer.real(text, add_special_tokens=special, return_offsets_mapping=True)
            ids = tokens.input_ids
            if (shift := _find(ids, received)) is None:
                continue
            written = text[begin : begin + len(prompt.strip())]
            spans = [(a + begin, b + begin) for a, b in category_spans(written, category)]
            for position, (start, end) in enumerate(tokens.offset_mapping):
                inside = any(start < last and end > first for first, last in spans)
                if inside and end > start and ids[position] not in placeholders:
                    yield position + shift
            return
        raise AlignDiffError(f"{encoder} did not receive the prompt as its tokenizer gives it")


def _find(ids: list[int], received: list[int]) -> int | None:
    """Where a text's ids start among those received, which are filled up on either side."""
    for shift in range(len(received) - len(ids) + 1):
        if received[shift : shift + len(ids)] == ids:
            return shift
    return None


@contextmanager
def _hearing(pipe: Any, category: str | None) -> Iterator[_Heard]:
    """While open, the tokenizers' texts and the text encoders' first ids are kept."""
    heard = _Heard({name: _Tokenizer(real) for name, real in tokenizers(pipe).items()})
    if category is None:
        yield heard
        return

    def keep(name: str) -> Callable[..., None]:
        def hook(_encoder: Any, args: Any, kwargs: Any) -> None:
            ids = args[0] if args else kwargs["input_ids"]
            heard.ids.setdefault(name, ids[0].tolist())

        return hook

    replaced = {
        name: heard.tokenizers[name.replace("tokenizer", "text_encoder")]
        for name in _tokenizers(pipe)
    }
    with ExitStack() as stack:
        stack.enter_context(_instead(pipe, replaced))
        for name, encoder in text_encoders(pipe).items():
            # Before the placeholders' own hook, which gives the encoder other ids.
            handle = encoder.register_forward_pre_hook(keep(name), prepend=True, with_kwargs=True)
            stack.callback(handle.remove)
        yield heard

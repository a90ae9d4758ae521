"""The diffusion model: loading, prompts, and the placeholder vectors that inversion learns.

A concept is `n` vectors of the text encoder's token table, under the tokens of
`placeholder_tokens`. They are added once and then set per concept, which costs nothing; diffusers'
`load_textual_inversion` reads the same files but adds tokens anew for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import placeholder_tokens

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


def image_size(pipe: StableDiffusionPipeline) -> int:
    """Side in pixels of the images the model was trained on."""
    side = pipe.unet.config.sample_size
    return int(side if isinstance(side, int) else max(side)) * int(pipe.vae_scale_factor)


def add_placeholders(pipe: StableDiffusionPipeline, count: int) -> list[int]:
    """Make room for `count` placeholder vectors; returns their token ids. Does nothing twice.

    New ones hold arbitrary numbers until `set_placeholder_vectors` (or `trainable_vectors`).
    """
    tokens = placeholder_tokens(count)
    pipe.tokenizer.add_tokens([t for t in tokens if t not in pipe.tokenizer.get_vocab()])
    table = pipe.text_encoder.get_input_embeddings()
    if len(pipe.tokenizer) > table.num_embeddings:
        # mean_resizing would spend seconds on the statistics of vectors that we set ourselves.
        pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
        pipe.text_encoder.get_input_embeddings().requires_grad_(False)
    return [int(i) for i in pipe.tokenizer.convert_tokens_to_ids(tokens)]


def set_placeholder_vectors(
    pipe: StableDiffusionPipeline, ids: Sequence[int], vectors: Tensor
) -> None:
    """Write `vectors`, float (n, d), into the token table at `ids`. InputError on a width."""
    table = pipe.text_encoder.get_input_embeddings().weight
    check_width(vectors, pipe)
    with torch.no_grad():
        table[list(ids)] = vectors.to(table)


def check_width(vectors: Tensor, pipe: StableDiffusionPipeline) -> None:
    """Raise InputError when `vectors`, float (n, d), were learned for another text encoder."""
    width = pipe.text_encoder.get_input_embeddings().embedding_dim
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise InputError(
            f"learned embedding with vectors of {vectors.shape[-1]} numbers, but this model's text "
            f"encoder takes {width}: it was learned with another model; learn it again with "
            "python -m scripts.image_mask_inversion --overwrite"
        )


@contextmanager
def trainable_vectors(
    text_encoder: nn.Module, ids: Sequence[int], vectors: Tensor
) -> Iterator[None]:
    """While open, the token table gives `vectors` (n, d) for `ids`; gradients reach them.

    Only the vectors are leaves: nothing else learns and nothing else has to be put back.
    """

    def swap(_table: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        for token_id, vector in zip(ids, vectors, strict=True):
            output = torch.where((args[0] == token_id)[..., None], vector.to(output), output)
        return output

    table = text_encoder.get_input_embeddings()  # type: ignore[operator]
    handle = table.register_forward_hook(swap)
    try:
        yield
    finally:
        handle.remove()


def encode_prompt(pipe: StableDiffusionPipeline, prompt: str) -> Tensor:
    """Text embedding of one prompt, float (1, 77, d), with gradient to trainable vectors.

    `prompt` spells every placeholder token out (`entry.prompt(placeholder_tokens(n))`). Placeholder
    tokens must have been added, and their vectors set. Raises InputError for a prompt too long.
    """
    length = pipe.tokenizer.model_max_length
    tokens = pipe.tokenizer(
        prompt, padding="max_length", max_length=length, truncation=False, return_tensors="pt"
    )
    if tokens.input_ids.shape[1] > length:
        raise InputError(
            f"prompt of {tokens.input_ids.shape[1]} tokens, but the text encoder reads {length} at "
            f"most: shorten it: {prompt!r}"
        )
    attends = getattr(pipe.text_encoder.config, "use_attention_mask", False)
    mask = tokens.attention_mask.to(pipe.text_encoder.device) if attends else None
    return pipe.text_encoder(
        tokens.input_ids.to(pipe.text_encoder.device), attention_mask=mask
    ).last_hidden_state


@contextmanager
def scheduled(pipe: StableDiffusionPipeline, name: str) -> Iterator[None]:
    """While open, the pipeline draws by another scheduler; afterwards by its own.

    `name` is one of `data.entries.SchedulerName`; "default" changes nothing.
    """
    own = pipe.scheduler
    pipe.scheduler = own if name == "default" else _other(own, name)
    try:
        yield
    finally:
        pipe.scheduler = own


def _other(own: Any, name: str) -> Any:
    """The named scheduler, with the noise levels and the kind of prediction of the model's own."""
    from diffusers import DPMSolverMultistepScheduler, PNDMScheduler

    # Passed on, because what the own configuration leaves to its class would follow the new class.
    kept = {"timestep_spacing": own.config.get("timestep_spacing", "leading")}
    if name == "pndm":
        return PNDMScheduler.from_config(own.config, skip_prk_steps=True, **kept)
    return DPMSolverMultistepScheduler.from_config(
        own.config, algorithm_type="dpmsolver++", solver_order=2, **kept
    )

"""Learned embeddings on disk: checked before the diffusion model loads, read and written.

A file holds the vectors of one object: a tensor named by its token, or, for a model with several
text encoders, one for each by the names in `PARTS`. Its metadata say which model it is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json, write_bytes
from aligndiff.core.options import MAX_VECTORS
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import PLACEHOLDER
from aligndiff.diffusion.families import Family
from aligndiff.diffusion.model_files import cached_file

if TYPE_CHECKING:
    from aligndiff.diffusion.vectors import Embedding

# Every object has a token of its own; files from before that have `PLACEHOLDER`.
TOKEN = re.compile(r"<[^<>\s]+>")
PARTS = ("clip_l", "clip_g", "t5xxl")  # of text_encoder, text_encoder_2, ... in this order
ONE_ENCODER = "text_encoder"
METADATA = "aligndiff"  # one key, because a file's bytes would depend on the order of several
LEARN_AGAIN = "learn it again with python -m scripts.image_mask_inversion --overwrite"


def count_vectors(path: Path) -> int:
    """How many vectors a learned embedding has for each text encoder.

    Raises InputError when it is no safetensors file of one object with finite vectors.
    """
    return len(next(iter(_read(path).values())))


def check_embeddings(paths: Sequence[Path], chosen: ModelChoice) -> None:
    """Raise one InputError that names every learned embedding of another width than the model's.

    A model that is still on the hub is not asked: then loading it finds out.
    """
    problems = []
    for path in paths:
        for encoder, vectors in _read(path).items():
            learned, width = vectors.shape[1], _text_width(chosen, encoder)
            if width is not None and learned != width:
                problems.append(
                    f"{path}: its vectors hold {learned} numbers, the text encoder of {chosen} "
                    f"takes {width}: it was learned with another model; {LEARN_AGAIN}"
                )
    if problems:
        raise InputError(problems)


def _read(path: Path) -> dict[str, NDArray[np.floating]]:
    """The vectors of a learned embedding by text encoder, float (n, d) each, checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: np.atleast_2d(file.get_tensor(name)) for name in sorted(file.keys())}
    except (OSError, SafetensorError, TypeError) as error:  # TypeError: a format unknown to numpy
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); {LEARN_AGAIN}"
        ) from error
    parts = [name for name in PARTS if name in tensors]
    of_one = len(tensors) == 1 and all(map(TOKEN.fullmatch, tensors))
    if not of_one and (not parts or len(parts) < len(tensors)):
        listed = ", ".join(tensors) or "nothing"
        problem = f"holds {listed}, not the vectors of one token such as {PLACEHOLDER}"
        raise InputError(f"{path}: {problem}; {LEARN_AGAIN}")
    for name, vectors in tensors.items():
        _check_vectors(path, name, vectors)
    if len({len(vectors) for vectors in tensors.values()}) > 1:
        raise InputError(f"{path}: its tensors hold unequally many vectors; {LEARN_AGAIN}")
    if of_one:
        return {ONE_ENCODER: next(iter(tensors.values()))}
    return {_encoder(number): tensors[name] for number, name in enumerate(parts, start=1)}


def _encoder(number: int) -> str:
    return ONE_ENCODER if number == 1 else f"{ONE_ENCODER}_{number}"


def _check_vectors(path: Path, name: str, vectors: NDArray[np.generic]) -> None:
    good_shape = vectors.ndim == 2 and 1 <= vectors.shape[0] <= MAX_VECTORS and vectors.shape[1] > 0
    if not good_shape or vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
        is_now = f"is {vectors.dtype} {vectors.shape}"
        raise InputError(
            f"{path}: {name!r} {is_now}, not 1 to {MAX_VECTORS} vectors of finite numbers; "
            f"{LEARN_AGAIN}"
        )


def _text_width(chosen: ModelChoice, encoder: str) -> int | None:
    """The width of a model's text encoder by its config; None when nothing here tells."""
    if isinstance(chosen.location, str):
        path = cached_file(chosen.location, f"{encoder}/config.json")
    else:
        path = chosen.location / encoder / "config.json"
    config = read_json(path) if path is not None and path.is_file() else None
    if not isinstance(config, dict):
        return None
    text = config.get("text_config")  # of encoders that also read images
    width = (text if isinstance(text, Mapping) else config).get("hidden_size")
    width = config.get("d_model") if width is None else width
    return width if isinstance(width, int) else None


def load_embedding(path: Path) -> Embedding:
    """Learned vectors from a safetensors file.

    Raises InputError when the file is missing, broken, or holds something else.
    """
    import torch

    from aligndiff.diffusion.vectors import Embedding

    if not path.is_file():
        raise InputError(f"{path}: no such file; run python -m scripts.image_mask_inversion first")
    return Embedding({name: torch.from_numpy(part).float() for name, part in _read(path).items()})


def save_embedding(
    path: Path,
    embedding: Embedding,
    token: str = PLACEHOLDER,
    family: Family | None = None,
    base_model: str = "",
) -> None:
    """Write the vectors, float32; the file appears whole.

    Of one text encoder under `token`, as diffusers' `load_textual_inversion` reads it; of several
    under the family's names for them. `base_model` is what they were learned with.
    """
    from safetensors.torch import save

    names = family.tensors if family is not None else {}
    tensors = {
        names.get(encoder, token): vectors.detach().float().cpu().contiguous()
        for encoder, vectors in embedding.vectors.items()
    }
    title = family.title if family is not None else ""
    about = json.dumps({"token": token, "family": title, "base_model": base_model})
    write_bytes(path, save(tensors, {METADATA: about}))

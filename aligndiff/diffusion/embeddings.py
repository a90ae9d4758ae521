"""Learned embeddings on disk: checked before the diffusion model loads, read and written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aligndiff.core.errors import InputError
from aligndiff.core.files import read_json, write_bytes
from aligndiff.core.options import MAX_VECTORS
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import PLACEHOLDER
from aligndiff.diffusion.model_files import cached_file

if TYPE_CHECKING:
    from torch import Tensor

# Every object has a token of its own; files from before that have `PLACEHOLDER`.
TOKEN = re.compile(r"<[^<>\s]+>")
TEXT_CONFIG = "text_encoder/config.json"
LEARN_AGAIN = "learn it again with python -m scripts.image_mask_inversion --overwrite"


def count_vectors(path: Path) -> int:
    """How many vectors a learned embedding has.

    Raises InputError when it is no safetensors file of one token with finite vectors.
    """
    return int(_embedding(path).shape[0])


def check_embeddings(paths: Sequence[Path], chosen: ModelChoice) -> None:
    """Raise one InputError that names every learned embedding of another width than the model's.

    A model that is still on the hub is not asked: then loading it finds out.
    """
    width = _text_width(chosen)
    widths = {path: int(_embedding(path).shape[1]) for path in paths}
    problems = [
        f"{path}: its vectors hold {learned} numbers, the text encoder of {chosen} takes {width}: "
        f"it was learned with another model; {LEARN_AGAIN}"
        for path, learned in widths.items()
        if width is not None and learned != width
    ]
    if problems:
        raise InputError(problems)


def _embedding(path: Path) -> NDArray[np.floating]:
    """The vectors of a learned embedding, float (n, d), checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = sorted(file.keys())
            if len(names) != 1 or not TOKEN.fullmatch(names[0]):
                listed = ", ".join(names) or "nothing"
                problem = f"holds {listed}, not the vectors of one token such as {PLACEHOLDER}"
                raise InputError(f"{path}: {problem}; {LEARN_AGAIN}")
            vectors = np.atleast_2d(file.get_tensor(names[0]))
    except (OSError, SafetensorError, TypeError) as error:  # TypeError: a format unknown to numpy
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); {LEARN_AGAIN}"
        ) from error
    good_shape = vectors.ndim == 2 and 1 <= vectors.shape[0] <= MAX_VECTORS and vectors.shape[1] > 0
    if not good_shape or vectors.dtype.kind != "f" or not np.isfinite(vectors).all():
        is_now = f"is {vectors.dtype} {vectors.shape}"
        raise InputError(
            f"{path}: {names[0]!r} {is_now}, not 1 to {MAX_VECTORS} vectors of finite numbers; "
            f"{LEARN_AGAIN}"
        )
    return vectors


def _text_width(chosen: ModelChoice) -> int | None:
    """The width of the model's text encoder by its config; None when nothing here tells."""
    if isinstance(chosen.location, str):
        path = cached_file(chosen.location, TEXT_CONFIG)
    else:
        path = chosen.location / TEXT_CONFIG
    config = read_json(path) if path is not None and path.is_file() else None
    width = config.get("hidden_size") if isinstance(config, dict) else None
    return width if isinstance(width, int) else None


def load_embedding(path: Path) -> Tensor:
    """Learned vectors, float32 (n, d), from a safetensors file of one token.

    Raises InputError when the file is missing, broken, or holds something else.
    """
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"{path}: no such file; run python -m scripts.image_mask_inversion first")
    count_vectors(path)  # says what is wrong with a file that holds something else
    (vectors,) = load_file(path).values()
    return torch.atleast_2d(vectors).float()


def save_embedding(path: Path, vectors: Tensor, token: str = PLACEHOLDER) -> None:
    """Write `vectors`, float (n, d), as {token: float32 (n, d)}; the file appears whole."""
    from safetensors.torch import save

    write_bytes(path, save({token: vectors.detach().float().cpu().contiguous()}))

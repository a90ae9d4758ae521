"""What a safetensors file holds, from its header alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aligndiff.core.errors import InputError

_SLICES, _SLICE = 16, 2**16  # of a large file that its fingerprint reads: number and bytes


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a file, not read: its axes and its number format, as the file calls it."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


def read_header(file: Path) -> Mapping[str, TensorInfo]:
    """The tensors of a safetensors file by name.

    Raises InputError when it cannot be read as one, also where its end is missing.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {
                name: TensorInfo(tuple(part.get_shape()), str(part.get_dtype()))
                for name, part in slices.items()
            }
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{file}: not a readable safetensors file ({error}); download it again"
        ) from error


def sampled_fingerprint(file: Path) -> str:
    """16 hex digits that tell a file from others of its size and its tensors' names.

    Of gigabytes a fixed set of slices is read: fine-tuned weights differ in all of them.
    """
    digest = hashlib.sha256()
    size = file.stat().st_size
    step = max(_SLICE, size // _SLICES)
    with open(file, "rb") as opened:
        for start in range(0, size, step):
            opened.seek(start)
            digest.update(opened.read(_SLICE))
    digest.update(str(size).encode())
    return digest.hexdigest()[:16]

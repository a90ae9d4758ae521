"""How fast a pipeline draws: its compiled UNet, and how many images it draws at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from aligndiff.core.device import free_memory
from aligndiff.core.errors import AlignDiffError, InputError

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

# What an image takes while it is drawn, for every pixel and every byte of a number: 2 GiB for
# 512 px in 16 bits. An estimate on the safe side, twice what Stable Diffusion's layers add up to.
BYTES_PER_PIXEL = 4096
MOST_AT_ONCE = {"cuda": 16, "cpu": 8}  # beyond these an image hardly costs less
USUALLY_AT_ONCE = 4  # where nothing tells the free memory


def batch_that_fits(pipe: StableDiffusionPipeline, size: tuple[int, int]) -> int:
    """How many images of `size` = (h, w) pixels to draw at once: a power of two, for free memory.

    Call it with the model loaded: what the model takes is not free any more.
    """
    free = free_memory(pipe.device)
    if free is None:
        return USUALLY_AT_ONCE
    one = size[0] * size[1] * BYTES_PER_PIXEL * pipe.unet.dtype.itemsize
    fits = max(1, min(free // one, MOST_AT_ONCE[pipe.device.type]))
    return int(2 ** (fits.bit_length() - 1))


@contextmanager
def compiled(pipe: StableDiffusionPipeline) -> Iterator[None]:
    """From now on the UNet is compiled, by its first call, for the shapes of that call.

    It stays so afterwards: a process that draws in several goes compiles once. Raises InputError
    where there is nothing to compile with, AlignDiffError where compiling fails.
    """
    _check_compiler(pipe.device)
    if pipe.unet._compiled_call_impl is None:
        pipe.unet.compile()
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as error:
        pipe.unet._compiled_call_impl = None
        reason = str(error).strip().splitlines()[0]
        raise AlignDiffError(
            f"the UNet could not be compiled ({reason}): leave out --compile"
        ) from error


def _check_compiler(device: torch.device) -> None:
    """Raise InputError when torch.compile would find no compiler for the device."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        found, wanted = has_triton(), "triton, and a GPU that it knows"
    else:
        found, wanted = shutil.which(os.environ.get("CXX", "g++")) is not None, "a C++ compiler"
    if not found:
        raise InputError(f"--compile needs {wanted}; leave it out, or install that first")

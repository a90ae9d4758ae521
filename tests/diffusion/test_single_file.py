"""Models in one file: told from their tensors, loaded without a hub, refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from aligndiff.core.errors import InputError
from aligndiff.diffusion.hub import load_tokenizer, quiet_loading
from aligndiff.diffusion.load import DiffusionOptions, model_identity, resolve_diffusion_model
from aligndiff.diffusion.pretrained import load_pipeline, networks
from aligndiff.diffusion.single_file import load as single_file
from aligndiff.diffusion.single_file.kinds import kind_of_file
from aligndiff.diffusion.single_file.load import CONFIGS
from aligndiff.diffusion.single_file.vocabulary import clip_tokenizer
from scripts.tiny_families.build import build_tiny
from tests.single_files import write_denoiser, write_single_file

PROMPT = "a photo of an albatross on water"


def tiny(kind: str, seed: int = 0) -> Any:
    """A tiny pipeline; of SDXL one whose text encoders have widths of their own, as the real."""
    quiet_loading()
    pipe = build_tiny(kind, seed)
    if kind == "StableDiffusionXLPipeline":
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextModelWithProjection

        encoder = pipe.text_encoder_2.config
        encoder.hidden_size, encoder.projection_dim = 40, 32
        pipe.text_encoder_2 = CLIPTextModelWithProjection(encoder).eval()
        config = {**pipe.unet.config, "cross_attention_dim": 72}
        pipe.unet = UNet2DConditionModel.from_config(config).eval()
    return pipe


def draw(pipe: Any) -> torch.Tensor:
    return pipe(
        PROMPT,
        num_inference_steps=2,
        height=32,
        width=32,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).images


def load(file: Path, base: Path | None = None) -> Any:
    options = DiffusionOptions(base_model=None if base is None else str(base))
    chosen = resolve_diffusion_model(str(file), None, options)
    return load_pipeline(chosen, "cpu", torch.float32)


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        ("StableDiffusionPipeline", "Stable Diffusion 1.x"),
        ("StableDiffusionXLPipeline", "Stable Diffusion XL"),
    ],
)
def test_a_whole_file_draws_what_its_pipeline_draws_without_a_hub(
    kind: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configurations beside the code are of the full size: here those of the tiny one."""
    pipe = tiny(kind)
    file = write_single_file(pipe, tmp_path / "model.safetensors")
    read = kind_of_file(file)
    assert (read.title, read.pipeline, read.is_whole) == (title, kind, True)
    pipe.save_pretrained(tmp_path / "folder")
    shutil.copytree(tmp_path / "folder", tmp_path / "configs" / read.configs)
    for weights in (tmp_path / "configs").rglob("*.safetensors"):
        weights.unlink()
    monkeypatch.setattr(single_file, "CONFIGS", tmp_path / "configs")
    own = {name: part for name, part in pipe.components.items() if name.startswith("tokenizer")}
    monkeypatch.setattr(single_file, "_tokenizers", lambda kind: own)
    alone, folder = load(file), load(tmp_path / "folder")
    for name, network in networks(folder).items():
        same = networks(alone)[name].state_dict()
        assert all(torch.equal(same[key], value) for key, value in network.state_dict().items())
    # One projection lies transposed in memory, which moves a sum's last bits.
    torch.testing.assert_close(draw(alone), draw(folder), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["QwenImagePipeline", "ZImagePipeline"])
def test_a_denoiser_alone_takes_the_rest_from_its_base(kind: str, tmp_path: Path) -> None:
    tiny(kind).save_pretrained(tmp_path / "base")
    other = tiny(kind, seed=1)
    file = write_denoiser(other, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="holds the denoiser alone; add --base_model with the dif"):
        load(file)
    shutil.rmtree(tmp_path / "base" / "transformer", ignore_errors=False)
    config = tmp_path / "base" / "transformer"
    other.transformer.save_config(config)
    pipe = load(file, tmp_path / "base")
    assert type(pipe).__name__ == kind
    for name, value in other.transformer.state_dict().items():
        assert torch.equal(pipe.transformer.state_dict()[name], value)
    assert not any(weight.requires_grad for weight in pipe.transformer.parameters())


def test_the_configurations_beside_the_code_are_those_of_the_published_models() -> None:
    """Their sizes are known; and what is made of them fits together."""
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def size(network: torch.nn.Module) -> int:
        return sum(weight.numel() for weight in network.parameters())

    unets = {"sd1": 859_520_964, "sdxl": 2_567_463_684}
    with init_empty_weights():
        for name, numbers in unets.items():
            folder = CONFIGS / name
            unet = UNet2DConditionModel.from_config(
                UNet2DConditionModel.load_config(folder / "unet")
            )
            vae = AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae"))
            clip = CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder"))
            assert (size(unet), size(vae), size(clip)) == (numbers, 83_653_863, 123_060_480)
        second = CLIPTextConfig.from_pretrained(CONFIGS / "sdxl" / "text_encoder_2")
        assert size(CLIPTextModelWithProjection(second)) == 694_659_840


def test_the_vocabulary_is_clips() -> None:
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = clip_tokenizer("!")("cat", padding="max_length")
    assert padded.input_ids == [49406, 2368, 49407, *[0] * 74]


def test_tokens_are_counted_by_the_vocabulary_of_the_file(tmp_path: Path) -> None:
    file = write_single_file(tiny("StableDiffusionPipeline"), tmp_path / "model.safetensors")
    tokenizer = load_tokenizer(resolve_diffusion_model(str(file), None))
    assert len(tokenizer("a photo of a cat").input_ids) == 7


def test_a_file_of_sdxl_says_that_it_predicts_v(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tiny("StableDiffusionXLPipeline")
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    file = write_single_file(pipe, tmp_path / "model.safetensors", **marks)
    pipe.save_pretrained(tmp_path / "configs" / "sdxl")
    monkeypatch.setattr(single_file, "CONFIGS", tmp_path / "configs")
    monkeypatch.setattr(
        single_file,
        "_tokenizers",
        lambda kind: {"tokenizer": pipe.tokenizer} | {"tokenizer_2": pipe.tokenizer_2},
    )
    config = load(file).scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)


def test_files_that_are_no_model_are_refused_in_one_line(tmp_path: Path) -> None:
    pipe = tiny("StableDiffusionPipeline")
    whole = load_file(write_single_file(pipe, tmp_path / "whole.safetensors"))
    first = "model.diffusion_model.input_blocks.0.0.weight"
    files = {
        "is of no kind known here": {"weight": torch.ones(2)},
        "takes 9 channels, not 4: a model for inpainting": {
            **whole,
            first: torch.ones(8, 9, 3, 3),
        },
        "takes 8 channels, not 4: a model for editing": {**whole, first: torch.ones(8, 8, 3, 3)},
        "is a LoRA: name it with --lora": {"lora_unet_a.lora_up.weight": torch.ones(2)},
        "is a VAE alone": {"decoder.conv_in.weight": torch.ones(2)},
        "holds scaled 8 bit numbers": {
            "double_blocks.0.img_attn.norm.key_norm.scale": torch.ones(2),
            "scaled_fp8": torch.ones(2),
        },
        "does not tell how it predicts; add --base_model": {
            first: torch.ones(8, 4, 3, 3),
            "cond_stage_model.model.token_embedding.weight": torch.ones(2),
        },
    }
    for problem, tensors in files.items():
        save_file(tensors, tmp_path / "model.safetensors")
        with pytest.raises(InputError) as caught:
            resolve_diffusion_model(str(tmp_path / "model.safetensors"), None)
        (line,) = caught.value.problems
        assert problem in line and str(tmp_path / "model.safetensors") in line
    (tmp_path / "model.safetensors").write_bytes(b"<html>404</html>")
    with pytest.raises(InputError, match="not a readable safetensors file .*; download it again"):
        resolve_diffusion_model(str(tmp_path / "model.safetensors"), None)


def test_a_file_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    pipe = tiny("StableDiffusionPipeline")
    pipe.save_pretrained(tmp_path / "base")
    tensors = load_file(write_single_file(pipe, tmp_path / "model.safetensors"))
    del tensors["model.diffusion_model.out.2.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"lacks tensors of a Stable Diffusion 1.x; download"):
        load(tmp_path / "model.safetensors", tmp_path / "base")


def test_a_base_must_be_of_the_files_family(tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    file = write_denoiser(tiny("QwenImagePipeline"), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="is a StableDiffusionPipeline, but .* a file of Qwen-Im"):
        load(file, tiny_pipeline_dir)
    with pytest.raises(InputError, match="is a file; name a diffusers folder"):
        load(file, file)
    with pytest.raises(InputError, match="^--base_model: only a single file needs one"):
        load(tiny_pipeline_dir, tiny_pipeline_dir)


def test_the_identity_tells_fine_tunes_of_one_size_apart(tmp_path: Path) -> None:
    names = ["a", "b"]
    for seed in (0, 1):
        pipe = tiny("StableDiffusionPipeline", seed)
        (tmp_path / names[seed]).mkdir()
        write_single_file(pipe, tmp_path / names[seed] / "model.safetensors")
    first, second = (
        model_identity(resolve_diffusion_model(str(tmp_path / name / "model.safetensors"), None))
        for name in names
    )
    assert first != second and first.startswith("model.safetensors ")

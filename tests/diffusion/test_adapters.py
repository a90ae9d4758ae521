"""The denoiser's weights: what learns, what a file holds, and that all is put back to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import ADAPTATIONS
from aligndiff.diffusion import adapters
from aligndiff.diffusion.adapters import (
    adaptation_bytes,
    adaptation_fingerprint,
    adapted,
    save_adaptation,
    trainable,
)
from aligndiff.diffusion.pipeline import denoiser
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.prompts import encode
from aligndiff.diffusion.sampling import SamplerSettings, encode_prompts, generate
from aligndiff.diffusion.sampling import draw as draw_images
from scripts.tiny_families.build import build_tiny

KINDS = ("lora", "full")
SETTINGS = SamplerSettings(num_inference_steps=1, guidance_scale=2.0, size=(64, 64))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice(folder.name, folder, "test"), "cpu", dtype)


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    return load(tiny_pipeline_dir)


def state(pipe: StableDiffusionPipeline) -> dict[str, Any]:
    """Every weight of the denoiser with its place in memory's layout, as they are now."""
    weights = denoiser(pipe).state_dict()
    return {name: (value.clone(), value.dtype, value.stride()) for name, value in weights.items()}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name][0]) and rest == list(second[name][1:])
        for name, (value, *rest) in first.items()
    )


def tune(pipe: StableDiffusionPipeline, kind: Any, path: Path, seed: int = 0) -> Path:
    """A file of weights after one step away from where they start."""
    torch.manual_seed(seed)
    with trainable(pipe, kind, 2, seed) as weights:
        with torch.no_grad():
            for weight in weights:
                weight += 0.05 * torch.randn_like(weight)
        save_adaptation(pipe, path / ADAPTATIONS[kind])
    return path / ADAPTATIONS[kind]


def draw(pipe: StableDiffusionPipeline) -> bytes:
    prompt = encode_prompts(pipe, "a photo of a fish", "fish")
    sample = generate(pipe, prompt, [3], SETTINGS)[0]
    assert sample is not None
    return sample.image.tobytes() + sample.heatmap.tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_learns_is_float32_and_is_put_back(
    tiny_pipeline_dir: Path, kind: Any, dtype: torch.dtype
) -> None:
    pipe = load(tiny_pipeline_dir, dtype)
    before, drawn = state(pipe), draw(pipe)
    latents, times = torch.randn(2, 4, 8, 8, dtype=dtype), torch.tensor([5, 700])
    text = torch.randn(2, 77, 32, dtype=dtype)
    with trainable(pipe, kind, 2, 0) as weights:
        assert weights and all(weight.dtype == torch.float32 for weight in weights)
        pipe.unet(latents, times, text).sample.float().square().mean().backward()
        # The second factor of LoRA starts at 0, so the first has no gradient yet.
        assert all(w.grad is not None and w.grad.isfinite().all() for w in weights)
        torch.optim.SGD(weights, lr=0.1).step()
    assert same(before, state(pipe)) and drawn == draw(pipe)
    assert all(p.grad is None and not p.requires_grad for p in pipe.unet.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_also_after_an_error(pipe: StableDiffusionPipeline, kind: Any, tmp_path: Path) -> None:
    before = state(pipe)
    path = tune(pipe, kind, tmp_path)
    for opened in (trainable(pipe, kind, 2, 0), adapted(pipe, path)):
        with pytest.raises(KeyboardInterrupt), opened:
            raise KeyboardInterrupt
        assert same(before, state(pipe))


def test_lora_starts_from_the_seed_and_changes_nothing_at_first(
    pipe: StableDiffusionPipeline,
) -> None:
    drawn, starts = draw(pipe), []
    for seed in (0, 0, 1):
        torch.manual_seed(99)
        usual = torch.rand(1)
        torch.manual_seed(99)
        with trainable(pipe, "lora", 2, seed) as weights:
            starts.append(torch.cat([weight.detach().flatten() for weight in weights]))
            assert drawn == draw(pipe)
        assert torch.equal(torch.rand(1), usual), "the caller's own draws go on"
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


def test_lora_is_added_to_attention_and_convolutions(pipe: StableDiffusionPipeline) -> None:
    names = adapters.lora_layers(pipe.unet)
    for part in ("attn1.to_q", "attn2.to_v", "resnets.0.conv1", "conv_in", "ff.net"):
        assert any(part in name for name in names)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_the_size_that_was_told(
    pipe: StableDiffusionPipeline, kind: Any, tmp_path: Path
) -> None:
    tensors = load_file(tune(pipe, kind, tmp_path))
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    size = sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    assert size == adaptation_bytes(pipe, kind, 2)


def test_two_objects_and_none_in_turn(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    """Each is drawn as by a pipeline that has seen nothing else, whatever came before it."""
    paths = [None]
    for number, kind in enumerate(KINDS * 2):
        (tmp_path / str(number)).mkdir()
        paths.append(tune(pipe, kind, tmp_path / str(number), seed=number))
    alone = []
    for path in paths:
        fresh = load(tiny_pipeline_dir)
        with adapted(fresh, path):
            alone.append(draw(fresh))
    assert len(set(alone)) == len(paths)
    for number in (1, 2, 0, 4, 3, 0):
        with adapted(pipe, paths[number]):
            assert draw(pipe) == alone[number]


def test_diffusers_loads_lora(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    path = tune(pipe, "lora", tmp_path)
    with adapted(pipe, path):
        ours = draw(pipe)
    plain = load(tiny_pipeline_dir)
    plain.load_lora_weights(str(tmp_path))  # its usual name is enough
    assert draw(plain) == ours != draw(pipe)


def test_diffusers_loads_all_weights(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    path = tune(pipe, "full", tmp_path)
    with adapted(pipe, path):
        ours = draw(pipe)
    plain = load(tiny_pipeline_dir)
    plain.unet.load_state_dict(load_file(path))
    assert draw(plain) == ours != draw(pipe)


def test_lora_is_drawn_in_the_models_type(tiny_pipeline_dir: Path, tmp_path: Path) -> None:
    pipe = load(tiny_pipeline_dir, torch.bfloat16)
    with adapted(pipe, tune(pipe, "lora", tmp_path)):
        assert {weight.dtype for weight in pipe.unet.parameters()} == {torch.bfloat16}
        draw(pipe)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_does_not_fit_is_one_line(
    pipe: StableDiffusionPipeline, tmp_path: Path, kind: Any
) -> None:
    before = state(pipe)
    path = tune(pipe, kind, tmp_path)
    tensors = load_file(path)
    name = next(name for name in tensors if "conv_in" in name)
    save_file({**tensors, name: torch.zeros(3, 3, 3, 3)}, path)
    with pytest.raises(InputError, match="diffusion model; learn it again"), adapted(pipe, path):
        pass
    path.write_bytes(b"no tensors")
    with pytest.raises(InputError, match="not a readable safetensors file"), adapted(pipe, path):
        pass
    assert same(before, state(pipe))


def test_a_large_file_is_told_by_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "READ_AT_MOST", 4)
    prints = set()
    for content in (b"12345678", b"12345679", b"112345678", b"12", b"13"):
        (tmp_path / "a").write_bytes(content)
        prints.add(adaptation_fingerprint(tmp_path / "a"))
    assert len(prints) == 5


@pytest.mark.parametrize("name", ["StableDiffusionXLPipeline", "FluxPipeline", "SanaPipeline"])
def test_other_families(name: str, tmp_path: Path) -> None:
    """A UNet with two text encoders, a transformer, and one with convolutions over groups."""
    pipe: Any = build_tiny(name)
    denoiser(pipe).requires_grad_(False)
    before = state(pipe)
    with torch.no_grad():
        prompt = encode(pipe, "a photo of a fish", guided=True)
        drawn = [draw_images(pipe, prompt, [1], SETTINGS)]
        for kind in KINDS:
            with adapted(pipe, tune(pipe, kind, tmp_path)):
                drawn.append(draw_images(pipe, prompt, [1], SETTINGS))
        assert same(before, state(pipe))
        assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
        pipe.load_lora_weights(str(tmp_path))
        theirs = draw_images(pipe, prompt, [1], SETTINGS)
        assert torch.allclose(theirs, drawn[1], atol=1e-4), (theirs - drawn[1]).abs().max()


def test_what_cannot_be_tuned_is_one_line(tiny_pipeline_dir: Path) -> None:
    pixart = build_tiny("PixArtSigmaPipeline")
    with pytest.raises(InputError, match="diffusers has no LoRA for PixArtSigmaPipeline; use"):
        adapters.check_adaptable(pixart, "lora")
    adapters.check_adaptable(pixart, "full")
    pipe = load(tiny_pipeline_dir)
    pipe.unet.conv_in.weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.uint8), False)
    with pytest.raises(InputError, match="does not go together with --quantize"):
        adapters.check_adaptable(pipe, "full")

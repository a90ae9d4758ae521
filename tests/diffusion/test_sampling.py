"""A sample depends on its prompt and its seed alone, and a broken one does not stop the others.

A compiled UNet records in one graph; the batch follows the free memory.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch._dynamo.utils import counters

from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import EmbeddingEntry, TextEntry
from aligndiff.diffusion import sampling
from aligndiff.diffusion.attention import AttentionTap
from aligndiff.diffusion.latents import initial_noise
from aligndiff.diffusion.pipeline import generation_size
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.prompts import EncodedPrompt
from aligndiff.diffusion.sampling import (
    GeneratedSample,
    SamplerSettings,
    batch_that_fits,
    compiled,
    encode_entry,
    generate,
)
from aligndiff.diffusion.vectors import Embedding

SETTINGS = SamplerSettings(num_inference_steps=3, guidance_scale=7.5, size=(64, 64))
TEXT = TextEntry(
    type="text", category="albatross", D_good_dir="a", text="a photo of an albatross on water"
)
LEARNED = EmbeddingEntry(type="NM_embedding", category="fish", D_good_dir="fish", path="fish")


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    return load_pipeline(chosen, torch.device("cpu"), torch.float32)


def drawn(drawings: list[GeneratedSample | None]) -> list[GeneratedSample]:
    assert all(drawing is not None for drawing in drawings)
    return [drawing for drawing in drawings if drawing is not None]


def test_a_drawing_is_what_the_plain_pipeline_draws(pipe: StableDiffusionPipeline) -> None:
    (ours,) = drawn(generate(pipe, encode_entry(pipe, TEXT), [7], SETTINGS))
    theirs = pipe(TEXT.text, num_inference_steps=3, generator=torch.Generator().manual_seed(7))
    assert np.array_equal(ours.image, np.asarray(theirs.images[0]))
    assert ours.image.dtype == ours.heatmap.dtype == np.uint8
    assert ours.image.shape == (64, 64, 3) and ours.heatmap.shape == (64, 64)


def test_a_negative_prompt_is_what_guidance_leads_away_from(pipe: StableDiffusionPipeline) -> None:
    encoded = encode_entry(pipe, TEXT, negative_prompt="water")
    (ours,) = drawn(generate(pipe, encoded, [7], SETTINGS))
    noise = torch.Generator().manual_seed(7)
    theirs = pipe(TEXT.text, negative_prompt="water", num_inference_steps=3, generator=noise)
    assert np.array_equal(ours.image, np.asarray(theirs.images[0]))
    (plain,) = drawn(generate(pipe, encode_entry(pipe, TEXT), [7], SETTINGS))
    assert not np.array_equal(ours.image, plain.image)


@pytest.mark.parametrize("scheduler", [None, DDIMScheduler, EulerAncestralDiscreteScheduler])
@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_one_at_a_time_equals_four_at_once(
    pipe: StableDiffusionPipeline,
    monkeypatch: pytest.MonkeyPatch,
    scheduler: Any,
    guidance: float,
) -> None:
    if scheduler is not None:
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    floats: list[torch.Tensor] = []
    real = AttentionTap.maps

    def spy(recorder: AttentionTap) -> list[torch.Tensor]:
        floats.extend(real(recorder))
        return real(recorder)

    monkeypatch.setattr(AttentionTap, "maps", spy)
    prompt = encode_entry(pipe, TEXT)
    settings = SamplerSettings(3, guidance, (64, 64))
    seeds = [11, 2**62 + 5, 13, 14]
    together = drawn(generate(pipe, prompt, seeds, settings))
    together_maps, floats[:] = list(floats), []
    alone = [drawn(generate(pipe, prompt, [seed], settings))[0] for seed in seeds]
    for row, (one, other) in enumerate(zip(together, alone, strict=True)):
        for level in range(3):
            maps = together_maps[level][row], floats[3 * row + level][0]
            assert torch.allclose(*maps, atol=1e-4)
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert np.abs(one.heatmap.astype(int) - other.heatmap).max() <= 1
    assert len({drawing.image.tobytes() for drawing in together}) == 4


def test_noise_is_one_cpu_generator_per_sample_at_any_precision(
    pipe: StableDiffusionPipeline,
) -> None:
    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    both = initial_noise(pipe, generators(1, 2), (64, 32))
    assert both.shape == (2, 4, 16, 8)
    assert torch.equal(both[1:], initial_noise(pipe, generators(2), (64, 32)))
    pipe.unet.to(torch.bfloat16)
    half = initial_noise(pipe, generators(1, 2), (64, 32))
    assert half.dtype == torch.bfloat16 and torch.equal(half, both.to(torch.bfloat16))


def test_a_16_bit_drawing_starts_from_the_noise_of_the_float32_one(
    pipe: StableDiffusionPipeline,
) -> None:
    first: list[torch.Tensor] = []
    pipe.unet.register_forward_pre_hook(lambda _unet, args: first.append(args[0].float()))
    generate(pipe, encode_entry(pipe, TEXT), [5], SETTINGS)
    full, first[:] = first[0], []
    pipe.to(torch.bfloat16)
    generate(pipe, encode_entry(pipe, TEXT), [5], SETTINGS)
    assert torch.equal(first[0], full.to(torch.bfloat16).float())


def test_learned_vectors_change_the_images_and_move_the_tokens(
    pipe: StableDiffusionPipeline,
) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, 32, generator=generator) for n in (1, 3))

    def encoded(vectors: torch.Tensor) -> EncodedPrompt:
        return encode_entry(pipe, LEARNED, Embedding({"text_encoder": vectors}), guided=False)

    def states(prompt: EncodedPrompt) -> torch.Tensor:
        ((conditional, _),) = prompt.answers.values()
        return conditional

    one, three = encoded(first), encoded(second)
    assert (one.token_indices, three.token_indices) == ((6,), (8,))
    assert torch.equal(states(one), states(encoded(first))), "nothing is left of the three rows"
    assert not torch.allclose(states(one), states(encoded(second[:1])))


def test_a_sample_of_nan_is_none_and_the_others_are_as_ever(pipe: StableDiffusionPipeline) -> None:
    prompt = encode_entry(pipe, TEXT)
    good = drawn(generate(pipe, prompt, [1, 2, 3], SETTINGS))

    def spoil(_unet: Any, _args: Any, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        output[0][-2] = float("nan")  # the conditional row of the second of three
        return output

    handle = pipe.unet.register_forward_hook(spoil)
    try:
        first, second, third = generate(pipe, prompt, [1, 2, 3], SETTINGS)
    finally:
        handle.remove()
    assert second is None and first is not None and third is not None
    assert np.array_equal(first.image, good[0].image)
    assert np.array_equal(third.heatmap, good[2].heatmap)


def test_drawing_size(pipe: StableDiffusionPipeline) -> None:
    assert generation_size(pipe, ()) == (64, 64)
    assert generation_size(pipe, (32,)) == (32, 32)
    assert generation_size(pipe, (32, 48)) == (32, 48)
    with pytest.raises(InputError, match="--side: must be a multiple of 8 px"):
        generation_size(pipe, (36,))


def test_another_size_is_drawn(pipe: StableDiffusionPipeline) -> None:
    settings = SamplerSettings(2, 7.5, (40, 64))
    (drawing,) = drawn(generate(pipe, encode_entry(pipe, TEXT), [1], settings))
    assert drawing.image.shape == (40, 64, 3) and drawing.heatmap.shape == (40, 64)


# Speed: a compiled UNet, batches that fit

TWO_STEPS = SamplerSettings(num_inference_steps=2, guidance_scale=7.5, size=(64, 64))
FISH = TextEntry(type="text", category="fish", D_good_dir="a", text="a photo of a fish")


def two_level_unet() -> UNet2DConditionModel:
    """Cross-attention on the way down and up, on few layers: tracing takes seconds, not minutes."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        mid_block_type=None,
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=4,
    ).eval()


def test_recording_does_not_break_the_compiled_graph(
    pipe: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One graph of the whole UNet serves every step of every batch, with a new recorder each."""
    pipe.unet = two_level_unet()
    prompt = encode_entry(pipe, FISH)
    plain = [generate(pipe, prompt, [seed, seed + 1], TWO_STEPS) for seed in (1, 5)]
    real = pipe.unet.compile
    monkeypatch.setattr(pipe.unet, "compile", lambda: real(backend="eager", fullgraph=True))
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True), compiled(pipe):
        traced = [generate(pipe, prompt, [seed, seed + 1], TWO_STEPS) for seed in (1, 5)]
    assert counters["stats"]["unique_graphs"] == 1
    for batch, other_batch in zip(plain, traced, strict=True):
        for one, other in zip(batch, other_batch, strict=True):
            assert one is not None and other is not None and np.ptp(one.heatmap) > 5
            assert np.abs(one.image.astype(int) - other.image).max() <= 1
            assert np.abs(one.heatmap.astype(int) - other.heatmap).max() <= 1


def test_the_compilers_warnings_stay_off_the_screen(
    tiny_pipeline_dir: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Torch warns of functions of diffusers that it looks through, as bfloat16 makes it do."""
    pipe = load_pipeline(ModelChoice("small", tiny_pipeline_dir, "x"), "cpu", torch.bfloat16)
    prompt = encode_entry(pipe, TEXT)

    def draw_compiled() -> list[str]:
        pipe.unet = two_level_unet().to(torch.bfloat16)
        real = pipe.unet.compile
        monkeypatch.setattr(pipe.unet, "compile", lambda: real(backend="eager"))
        torch._dynamo.reset()
        torch._dynamo.utils.warn_once_cache.clear()
        recwarn.clear()
        with compiled(pipe):
            generate(pipe, prompt, [1], SETTINGS)
        return [str(warning.message) for warning in recwarn]

    assert draw_compiled() == []
    monkeypatch.setattr(sampling, "_quiet_compiler", nullcontext)
    assert any("lru_cache" in message for message in draw_compiled())


def test_the_unet_is_as_before_when_compiling_fails(pipe: StableDiffusionPipeline) -> None:
    with pytest.raises(AlignDiffError, match=r"\(no backend here\): leave out --compile"):
        with compiled(pipe):
            assert pipe.unet._compiled_call_impl is not None
            raise torch._dynamo.exc.TorchDynamoException("no backend here\nsecond line")
    assert pipe.unet._compiled_call_impl is None


def test_without_a_compiler_one_line_says_so(
    pipe: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"--compile needs a C\+\+ compiler; leave it out"):
        with compiled(pipe):
            pass


def test_the_batch_is_a_power_of_two_that_fits(
    pipe: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 512 * 512 * sampling.BYTES_PER_PIXEL * 4  # an image of 512 px in float32: 4 GiB
    assert one == 4 * 2**30

    def fitting(free: int | None, size: tuple[int, int] = (512, 512)) -> int:
        monkeypatch.setattr(sampling, "free_memory", lambda device: free)
        return batch_that_fits(pipe, size)

    assert [fitting(n * one) for n in (0, 1, 3, 4, 7, 8, 100)] == [1, 1, 2, 4, 4, 8, 8]
    assert fitting(4 * one, (512, 1024)) == 2
    assert fitting(None) == 4
    pipe.unet.to(torch.bfloat16)
    assert fitting(2 * one) == 4

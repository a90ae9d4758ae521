"""A sample depends on its prompt and its seed alone, and a broken one does not stop the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, StableDiffusionPipeline

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import EmbeddingEntry, TextEntry
from aligndiff.diffusion.attention import AttentionRecorder
from aligndiff.diffusion.sampling import (
    GeneratedSample,
    SamplerSettings,
    encode_entry,
    generate,
    generation_size,
    initial_noise,
)
from aligndiff.diffusion.stable_diffusion import load_pipeline

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
    real = AttentionRecorder.maps

    def spy(recorder: AttentionRecorder) -> list[torch.Tensor]:
        floats.extend(real(recorder))
        return real(recorder)

    monkeypatch.setattr(AttentionRecorder, "maps", spy)
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


def test_learned_rows_change_the_images_and_move_the_columns(pipe: StableDiffusionPipeline) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(n, 32, generator=generator) for n in (1, 3))
    one = encode_entry(pipe, LEARNED, first)
    three = encode_entry(pipe, LEARNED, second)
    assert (one.token_indices, three.columns) == ((6,), (8,))
    again = encode_entry(pipe, LEARNED, first)
    assert torch.equal(one.conditional, again.conditional), "nothing is left of the three rows"
    assert not torch.allclose(one.conditional, encode_entry(pipe, LEARNED, second[:1]).conditional)


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

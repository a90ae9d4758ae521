"""A compiled UNet records in one graph; the batch follows the free memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch._dynamo.utils import counters

from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import TextEntry
from aligndiff.diffusion import sampling as speed
from aligndiff.diffusion.sampling import (
    SamplerSettings,
    batch_that_fits,
    compiled,
    encode_entry,
    generate,
)
from aligndiff.diffusion.stable_diffusion import load_pipeline

SETTINGS = SamplerSettings(num_inference_steps=2, guidance_scale=7.5, size=(64, 64))
TEXT = TextEntry(type="text", category="fish", D_good_dir="a", text="a photo of a fish")


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    return load_pipeline(chosen, torch.device("cpu"), torch.float32)


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
    prompt = encode_entry(pipe, TEXT)
    plain = [generate(pipe, prompt, [seed, seed + 1], SETTINGS) for seed in (1, 5)]
    real = pipe.unet.compile
    monkeypatch.setattr(pipe.unet, "compile", lambda: real(backend="eager", fullgraph=True))
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True), compiled(pipe):
        traced = [generate(pipe, prompt, [seed, seed + 1], SETTINGS) for seed in (1, 5)]
    assert counters["stats"]["unique_graphs"] == 1
    for batch, other_batch in zip(plain, traced, strict=True):
        for one, other in zip(batch, other_batch, strict=True):
            assert one is not None and other is not None and np.ptp(one.heatmap) > 5
            assert np.abs(one.image.astype(int) - other.image).max() <= 1
            assert np.abs(one.heatmap.astype(int) - other.heatmap).max() <= 1


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
    one = 512 * 512 * speed.BYTES_PER_PIXEL * 4  # an image of 512 px in float32: 4 GiB
    assert one == 4 * 2**30

    def fitting(free: int | None, size: tuple[int, int] = (512, 512)) -> int:
        monkeypatch.setattr(speed, "free_memory", lambda device: free)
        return batch_that_fits(pipe, size)

    assert [fitting(n * one) for n in (0, 1, 3, 4, 7, 8, 100)] == [1, 1, 2, 4, 4, 8, 8]
    assert fitting(4 * one, (512, 1024)) == 2
    assert fitting(None) == 4
    pipe.unet.to(torch.bfloat16)
    assert fitting(2 * one) == 4

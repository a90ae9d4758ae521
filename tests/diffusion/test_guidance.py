"""Guidance on some noise levels only, on tiny pipelines of every kind of unconditional half."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from aligndiff.dataset.entries import TextEntry
from aligndiff.diffusion.guidance import guided_within
from aligndiff.diffusion.pipeline import denoiser
from aligndiff.diffusion.sampling import GeneratedSample, SamplerSettings, encode_entry, generate
from scripts.tiny_families.build import build_tiny

FISH = TextEntry(type="text", category="fish", D_good_dir="a", text="a photo of a fish")
SETTINGS = SamplerSettings(num_inference_steps=4, guidance_scale=3.0, size=(64, 64))
SEEDS = [1, 2]
EVERYWHERE, NOWHERE = (0.0, 1000.0), (1500.0, 2000.0)
# A doubled batch, conditional rows last and first; two calls.
KINDS = ("StableDiffusionXLPipeline", "ZImagePipeline", "ChromaPipeline")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rows_of(pipe: Any) -> list[int]:
    """How many rows the denoiser sees, call by call, from now on."""
    rows: list[int] = []

    def note(_module: Any, args: Any, kwargs: Any) -> None:
        rows.append(len(args[0] if args else kwargs["hidden_states"]))

    denoiser(pipe).register_forward_pre_hook(note, with_kwargs=True)
    return rows


def same(one: list[GeneratedSample | None], other: list[GeneratedSample | None]) -> bool:
    pairs = list(zip(one, other, strict=True))
    assert all(a is not None and b is not None for a, b in pairs)
    return all(
        np.array_equal(a.image, b.image) and np.array_equal(a.heatmap, b.heatmap)  # type: ignore
        for a, b in pairs
    )


@pytest.mark.parametrize("kind", KINDS)
def test_outside_the_interval_half_is_not_computed_and_the_image_is_the_unguided_one(
    kind: str,
) -> None:
    pipe = build_tiny(kind)
    prompt, rows = encode_entry(pipe, FISH), rows_of(pipe)

    def drawn(interval: tuple[float, float] | None, scale: float = 3.0) -> Any:
        rows.clear()
        settings = replace(SETTINGS, guidance_interval=interval, guidance_scale=scale)
        return generate(pipe, prompt, SEEDS, settings), sum(rows)

    guided, calls = drawn(None)
    unguided, half = drawn(None, scale=1.0)
    assert (calls, half) == (4 * 4, 4 * 2)
    everywhere, nowhere = drawn(EVERYWHERE), drawn(NOWHERE)
    assert same(everywhere[0], guided) and everywhere[1] == calls
    assert same(nowhere[0], unguided) and nowhere[1] == half


def test_the_interval_is_of_the_noise_levels_of_the_schedule() -> None:
    """Steps at 751, 501, 251 and 1: of the two in the middle both halves are computed."""
    pipe = build_tiny("StableDiffusionPipeline")
    prompt, rows = encode_entry(pipe, FISH), rows_of(pipe)
    generate(pipe, prompt, SEEDS, replace(SETTINGS, guidance_interval=(251, 501)))
    assert pipe.scheduler.timesteps.tolist() == [751, 501, 251, 1]
    assert rows == [2, 4, 4, 2]


def test_a_second_drawing_after_one_that_broke_is_guided_as_the_first() -> None:
    pipe = build_tiny("ChromaPipeline")
    prompt, own = encode_entry(pipe, FISH), denoiser(pipe)
    settings = replace(SETTINGS, guidance_interval=(300, 1000))
    first = generate(pipe, prompt, SEEDS, settings)
    with pytest.raises(ZeroDivisionError), guided_within(pipe, (300, 1000), 3.0, 2):
        assert denoiser(pipe) is not own
        raise ZeroDivisionError
    assert denoiser(pipe) is own
    assert same(generate(pipe, prompt, SEEDS, settings), first)


def test_where_no_half_is_unconditional_nothing_changes() -> None:
    pipe = build_tiny("FluxPipeline")
    with guided_within(pipe, (300, 1000), 3.0, 2):
        assert isinstance(denoiser(pipe), torch.nn.Module)

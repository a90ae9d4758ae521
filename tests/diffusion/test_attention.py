"""Recording changes nothing, and the heatmap is the one of the definition, computed slowly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor

from aligndiff.core.errors import AlignDiffError
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion.attention import Attention, AttentionTap
from aligndiff.diffusion.heatmaps import fuse_heatmap, heatmap_to_uint8
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.prompts import encode

STEPS = 3


@pytest.fixture(scope="module")
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    return load_pipeline(chosen, torch.device("cpu"), torch.float32)


def draw_plain(
    pipe: StableDiffusionPipeline,
    prompt: str,
    size: tuple[int, int] = (64, 64),
    guidance: float = 7.5,
    samples: int = 2,
) -> torch.Tensor:
    """The plain pipeline call: float (n, 3, h, w)."""
    return pipe(
        [prompt] * samples,
        height=size[0],
        width=size[1],
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in range(samples)],
        output_type="pt",
    ).images


def tap_for(
    pipe: StableDiffusionPipeline,
    columns: Sequence[int],
    size: tuple[int, int] = (64, 64),
    **more: Any,
) -> AttentionTap:
    return AttentionTap(pipe, columns, samples=2, size=size, **more)


@contextmanager
def keep_everything(unet: Any) -> Iterator[list[tuple[str, np.ndarray]]]:
    """All cross-attention probabilities of all calls: (layer, float64 (batch, heads, cells, 77)).

    Worked out by hand from the inputs of each layer and its weights.
    """
    kept: list[tuple[str, np.ndarray]] = []

    def hook_for(name: str) -> Any:
        def hook(attn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            cells = args[0].double().numpy()
            text = kwargs["encoder_hidden_states"].double().numpy()
            query = cells @ attn.to_q.weight.double().numpy().T
            key = text @ attn.to_k.weight.double().numpy().T
            width = query.shape[-1] // attn.heads
            maps = []
            for head in range(attn.heads):
                part = slice(head * width, (head + 1) * width)
                scores = query[..., part] @ key[..., part].transpose(0, 2, 1) / np.sqrt(width)
                powers = np.exp(scores - scores.max(-1, keepdims=True))
                maps.append(powers / powers.sum(-1, keepdims=True))
            kept.append((name, np.stack(maps, axis=1)))

        return hook

    with ExitStack() as stack:
        for name, module in unet.named_modules():
            if name.endswith("attn2"):
                handle = module.register_forward_pre_hook(hook_for(name), with_kwargs=True)
                stack.callback(handle.remove)
        yield kept


def slow_heatmap(
    kept: Sequence[tuple[str, np.ndarray]],
    columns: Sequence[int],
    row: int,
    size: tuple[int, int],
) -> np.ndarray:
    """The definition, one thing after the other: uint8 (h, w) of batch row `row`."""
    grids = []
    height, width = size[0] // 4, size[1] // 4
    for _ in range(3):
        grids.append((height, width))
        height, width = (height + 1) // 2, (width + 1) // 2
    per_token = []
    for column in columns:
        per_resolution = []
        for grid in grids:
            layers: dict[str, list[np.ndarray]] = {}
            for name, maps in kept:
                if name.startswith(("down", "up")) and maps.shape[2] == grid[0] * grid[1]:
                    mean_of_heads = maps[row, :, :, column].mean(0).reshape(grid)
                    layers.setdefault(name, []).append(mean_of_heads)
            assert layers and {len(calls) for calls in layers.values()} == {STEPS + 1}
            mean = np.mean([np.mean(calls, axis=0) for calls in layers.values()], axis=0)
            full = cv2.resize(mean, size[::-1], interpolation=cv2.INTER_CUBIC)
            per_resolution.append(full / full.max())
        per_token.append(np.mean(per_resolution, axis=0))
    return (np.maximum(np.mean(per_token, axis=0), 0) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("prompt", "category", "size", "guidance", "columns"),
    [
        ("a photo of a fish", "fish", (64, 64), 7.5, [5]),
        ("a photo of an albatross on water", "albatross", (64, 64), 7.5, [5, 6]),
        ("albatross, a photo of an albatross", "albatross", (64, 64), 4.0, [1, 2, 8, 9]),
        ("a photo of a fish", "fish", (64, 96), 7.5, [5]),
        ("a photo of an albatross", "albatross", (72, 40), 7.5, [5, 6]),
        ("a photo of a fish", "fish", (64, 64), 1.0, [5]),
        ("a fish on a fish", "fish", (40, 72), 0.0, [2, 5]),
    ],
    ids=["one", "two-tokens", "twice", "wide", "odd-grid", "no-guidance", "no-guidance-odd-twice"],
)
def test_the_heatmap_is_that_of_the_slow_computation(
    pipe: StableDiffusionPipeline,
    prompt: str,
    category: str,
    size: tuple[int, int],
    guidance: float,
    columns: list[int],
) -> None:
    assert list(encode(pipe, prompt, category=category).token_indices) == columns
    with keep_everything(pipe.unet) as kept:
        draw_plain(pipe, prompt, size, guidance)
    with tap_for(pipe, columns, size) as tap:
        draw_plain(pipe, prompt, size, guidance)
    fast = heatmap_to_uint8(fuse_heatmap(tap.maps(), size))
    first_conditional = 2 if guidance > 1 else 0
    for sample in range(2):
        slow = slow_heatmap(kept, columns, first_conditional + sample, size)
        assert np.ptp(slow) > 20, "a flat map would prove nothing"
        difference = np.abs(fast[sample].astype(int) - slow)
        # Truncation turns a difference of 1e-7 into one grey level where a value is just whole.
        assert difference.max() <= 1 and (difference > 0).mean() < 0.005


def test_maps_are_means_over_heads_calls_and_layers(pipe: StableDiffusionPipeline) -> None:
    everything = list(range(77))
    with tap_for(pipe, everything) as tap:
        draw_plain(pipe, "a photo of a fish")
    assert [tuple(m.shape) for m in tap.maps()] == [(2, 77, s, s) for s in (16, 8, 4)]
    for one in tap.maps():
        assert one.dtype == torch.float32
        assert torch.allclose(one.sum(1), torch.ones(()), atol=1e-5), "shares of all columns: 1"


def test_pndm_makes_one_call_more_than_it_has_steps(pipe: StableDiffusionPipeline) -> None:
    with tap_for(pipe, [5]) as tap:
        draw_plain(pipe, "a photo of a fish")
    # One layer in the down block and two in the up block of each resolution.
    grids = [sums.grid for sums in tap.layers.values()]
    assert sorted(grids) == [(4, 4)] * 3 + [(8, 8)] * 3 + [(16, 16)] * 3
    assert {int(sums.calls) for sums in tap.layers.values()} == {STEPS + 1}


@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_recording_changes_no_bit_of_an_image(
    pipe: StableDiffusionPipeline, guidance: float
) -> None:
    plain = draw_plain(pipe, "a photo of a fish", guidance=guidance)
    with tap_for(pipe, [5]):
        recorded = draw_plain(pipe, "a photo of a fish", guidance=guidance)
    assert torch.equal(plain, recorded)


def hooks(pipe: StableDiffusionPipeline) -> int:
    parts = pipe.unet.modules()
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts)


def test_nothing_is_replaced_and_no_hook_stays(pipe: StableDiffusionPipeline) -> None:
    before = dict(pipe.unet.attn_processors)
    with tap_for(pipe, [5]):
        during = pipe.unet.attn_processors
        assert all(during[name] is before[name] for name in before)
        assert hooks(pipe) == 2 * 9
        draw_plain(pipe, "a photo of a fish")
    assert hooks(pipe) == 0 and torch.overrides._get_current_function_mode_stack() == []


def test_no_hook_stays_after_an_exception(pipe: StableDiffusionPipeline) -> None:
    calls = 0

    def fail_in_the_middle(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("in the middle of drawing")

    handle = pipe.unet.register_forward_hook(fail_in_the_middle)
    try:
        with pytest.raises(RuntimeError, match="in the middle"):
            with tap_for(pipe, [5]):
                draw_plain(pipe, "a photo of a fish")
    finally:
        handle.remove()
    assert hooks(pipe) == 0 and torch.overrides._get_current_function_mode_stack() == []


def test_what_is_kept_is_one_float32_sum_per_layer_also_for_16_bit_networks(
    tiny_pipeline_dir: Path,
) -> None:
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    half = load_pipeline(chosen, torch.device("cpu"), torch.bfloat16)
    with tap_for(half, [5, 6]) as tap:
        draw_plain(half, "a photo of an albatross")
    for sums in tap.layers.values():
        assert sums.text is not None and sums.text.dtype == torch.float32 and sums.image is None
        assert sums.text.shape == (2, 1, 2, sums.grid[0] * sums.grid[1])


def test_sums_of_each_head_and_of_image_to_image_attention(pipe: StableDiffusionPipeline) -> None:
    """Shares of all keys are 1, heads average to what is kept without them."""
    plain = draw_plain(pipe, "a photo of a fish")
    layer = "up_blocks.1.attentions.0.transformer_blocks.0.attn1"
    with tap_for(pipe, [5], per_head=True, image_layers=[layer]) as tap:
        assert torch.equal(draw_plain(pipe, "a photo of a fish"), plain)
    with tap_for(pipe, [5]) as means:
        draw_plain(pipe, "a photo of a fish")
    image = tap.layers[layer].image
    assert image is not None and image.shape == (2, 64, 64) and tap.layers[layer].text is None
    assert torch.allclose(image.sum(-1), tap.layers[layer].calls, atol=1e-4)
    for name, sums in means.layers.items():
        heads, mean = tap.layers[name].text, sums.text
        assert heads is not None and mean is not None
        assert heads.shape[1] == pipe.unet.get_submodule(name).heads
        assert torch.allclose(heads.mean(1, keepdim=True), mean, atol=1e-5)
    for ours, theirs in zip(tap.maps(), means.maps(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_layer_that_is_not_seen_is_an_error(pipe: StableDiffusionPipeline) -> None:
    """As with a backend of attention that is not torch's own."""
    with pytest.raises(
        AlignDiffError, match=r"down_blocks\.0.*attn2 was not seen \(9 of 9 layers\)"
    ):
        with tap_for(pipe, [5]):
            pass
    slow = pipe.unet.get_submodule("up_blocks.2.attentions.0.transformer_blocks.0.attn2")
    own = slow.processor
    slow.set_processor(AttnProcessor())
    try:
        with pytest.raises(AlignDiffError, match=r"up_blocks\.2.* was not seen \(1 of 9 layers\)"):
            with tap_for(pipe, [5]):
                draw_plain(pipe, "a photo of a fish")
    finally:
        slow.set_processor(own)


def test_a_model_without_layers_that_look_at_text_is_an_error(
    pipe: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aligndiff.diffusion.attention.LEVELS", 0)
    with pytest.raises(AlignDiffError, match="it cannot give heatmaps"):
        tap_for(pipe, [5])


@pytest.mark.parametrize("mask_type", [None, torch.bool, torch.float32])
def test_shares_among_many_keys_are_those_among_few(mask_type: torch.dtype | None) -> None:
    """By attention to values where there are many keys: the scores of all are never kept."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 20, 8, generator=generator)
    key = torch.randn(2, 3, 600, 8, generator=generator)
    mask = None
    if mask_type is not None:
        mask = torch.rand(2, 1, 1, 600, generator=generator) < 0.5
        if mask_type == torch.float32:
            mask = torch.zeros(2, 1, 1, 600).masked_fill(~mask, -10000.0)
    columns = torch.tensor([*range(12), 599, -1])  # more than the width of a head
    many = Attention(query, key, mask, 0.5).to_tokens(columns)
    scores = (query @ key.transpose(-1, -2)) * 0.5
    if mask is not None:
        scores = (
            scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        )
    assert many.shape == (2, 3, 20, 14)
    assert torch.allclose(many, scores.softmax(-1)[..., columns], atol=1e-6)


def test_fuse_normalises_each_map_before_averaging_columns() -> None:
    """Two columns of constant maps count the same, however small one is."""
    left = torch.tensor([[0.8, 0.0], [0.8, 0.0]])
    right = torch.tensor([[0.0, 0.01], [0.0, 0.01]])
    maps = torch.stack([left, right])[None]
    fused = fuse_heatmap([maps], (2, 2))
    assert torch.allclose(fused, torch.full((1, 2, 2), 0.5))


def test_fuse_resizes_before_it_normalises() -> None:
    """Bicubic overshoots: the maximum after the resize is above the one before it."""
    coarse = torch.zeros(1, 1, 4, 4)
    coarse[0, 0, 1:3, 1:3] = 0.5
    fused = fuse_heatmap([coarse], (16, 16))
    assert fused.max() == 1.0 and fused.min() < 0
    expected = cv2.resize(coarse[0, 0].numpy(), (16, 16), interpolation=cv2.INTER_CUBIC)
    assert expected.max() > 0.5
    assert np.allclose(fused[0].numpy(), expected / expected.max(), atol=1e-6)


def test_fuse_averages_the_resolutions_and_survives_an_empty_map() -> None:
    fine, coarse = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 2, 2), 0.3)
    assert torch.allclose(fuse_heatmap([fine, coarse], (4, 4)), torch.full((1, 4, 4), 0.5))


def test_grey_levels_are_clipped_then_truncated() -> None:
    values = torch.tensor([-0.2, -1e-9, 0.0, 0.999 / 255, 1 / 255, 254.99 / 255, 1.0, 1.0000001])
    assert heatmap_to_uint8(values).tolist() == [0, 0, 0, 0, 1, 254, 255, 255]

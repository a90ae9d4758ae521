"""Every family without its weights: what must hold on a tiny random pipeline before it is offered.

Recording changes no bit; a word's key is the one that changes with it; latents are what the
pipeline decodes; the loss reaches the vectors of every text encoder and nothing else; a batch is
its samples one by one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import placeholder_tokens
from aligndiff.dataset.support import SupportPair
from aligndiff.diffusion.attention import Attention, AttentionTap
from aligndiff.diffusion.embeddings import load_embedding, save_embedding
from aligndiff.diffusion.families import FAMILIES, check_drawing, find_family, supported
from aligndiff.diffusion.heatmaps import fuse_heatmap
from aligndiff.diffusion.latents import encode_images, initial_noise, pipeline_form
from aligndiff.diffusion.pipeline import (
    denoiser,
    family_of,
    generation_size,
    is_guided,
    text_encoders,
    views_at_once,
)
from aligndiff.diffusion.prediction import NoiseSchedule, predicting
from aligndiff.diffusion.prompts import call_arguments, encode, reading
from aligndiff.diffusion.sampling import SamplerSettings, draw, encode_prompts, generate
from aligndiff.diffusion.vectors import Embedding, initial_vectors
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.latents import encode_support
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.templates import training_texts
from scripts.tiny_families.build import BUILDERS
from tests.families import tiny_family

SIZE = (64, 64)
PROMPT = "a photo of an albatross on water"
REFINED = ("Lumina2Pipeline", "ZImagePipeline")  # text is mixed before the first recorded layer
SETTINGS = SamplerSettings(num_inference_steps=2, guidance_scale=3.0, size=SIZE)
every_family = pytest.mark.parametrize("kind", FAMILIES)


def silent(count: int = 1, category: str = "", *, status: str = "") -> None:
    pass


def test_each_family_has_its_tiny_pipeline_and_its_name_in_the_list() -> None:
    assert BUILDERS.keys() == FAMILIES.keys()
    for family in FAMILIES.values():
        assert family.title in supported()
    with pytest.raises(InputError, match="KolorsPipeline is not supported; supported are Stable"):
        find_family("KolorsPipeline")


@every_family
@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_images_are_the_plain_pipelines_bit_for_bit(kind: str, guidance: float) -> None:
    """From the same noise, with and without recording; the prompt is encoded here, or there."""
    pipe = tiny_family(kind)
    settings = replace(SETTINGS, guidance_scale=guidance)
    prompt = encode_prompts(pipe, PROMPT, "albatross", negative_prompt="water")
    arguments = call_arguments(pipe, prompt, 1, SIZE, guidance)
    generator = torch.Generator().manual_seed(5)
    plain = pipe(
        **arguments,
        latents=initial_noise(pipe, [generator], SIZE),
        generator=[generator],
        num_inference_steps=2,
        output_type="pt",
    ).images
    assert torch.equal(draw(pipe, prompt, [5], settings), plain.float())
    (sample,) = generate(pipe, prompt, [5], settings)
    assert sample is not None and np.ptp(sample.heatmap) > 5
    pixels = (plain[0].permute(1, 2, 0).float() * 255).round().to(torch.uint8).numpy()
    assert np.array_equal(sample.image, pixels)


@contextmanager
def seen_by(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Attention]]:
    """The attention calls that a tap sums up, of image positions and conditional rows alone."""
    calls: list[Attention] = []
    real = Attention.to_tokens

    def keep(self: Attention, tokens: Tensor) -> Tensor:
        calls.append(self)
        return real(self, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(Attention, "to_tokens", keep)
        yield calls


def first_call(
    kind: str, prompt: Any, noise: Tensor, monkeypatch: pytest.MonkeyPatch
) -> tuple[Attention, Tensor]:
    """What the first recorded layer computes in the first step, and its keys of the category."""
    pipe = tiny_family(kind)
    with seen_by(monkeypatch) as calls:
        tap = AttentionTap(pipe, prompt.token_indices, 1, SIZE, 3.0)
        with tap, reading(pipe, prompt):
            pipe(
                **call_arguments(pipe, prompt, 1, SIZE, 3.0),
                latents=pipeline_form(pipe, noise),
                num_inference_steps=2,
                output_type="latent",
            )
    return calls[0], tap._tokens % calls[0].key.shape[2]


def noise_for(kind: str, seed: int = 0) -> Tensor:
    pipe = tiny_family(kind)
    grid = SIZE[0] // pipe.vae_scale_factor
    channels = 4
    return torch.randn(1, channels, grid, grid, generator=torch.Generator().manual_seed(seed))


@every_family
def test_the_key_of_a_word_is_the_one_that_changes_with_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most, or, where the text encoder reads from left to right, as the first one."""
    pipe, noise = tiny_family(kind), noise_for(kind)
    dog = encode_prompts(pipe, "a photo of a dog on water", "dog", negative_prompt="a fish")
    cat = encode_prompts(pipe, "a photo of a cat on water", "cat", negative_prompt="a fish")
    assert dog.token_indices == cat.token_indices
    one, tokens = first_call(kind, dog, noise, monkeypatch)
    other, _ = first_call(kind, cat, noise, monkeypatch)
    changes = (one.key - other.key).float().pow(2).sum((0, 1, 3)).sqrt()
    names = [text.encoder for text in family_of(pipe).text]
    both_ways = any("T5" in type(getattr(pipe, name)).__name__ for name in names)
    if both_ways or kind in REFINED:
        assert set(tokens.tolist()) == set(changes.topk(len(tokens)).indices.tolist())
    else:
        assert (changes > 1e-5).nonzero().min() == tokens.min()


@every_family
def test_only_what_sees_the_prompt_is_recorded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under guidance another negative prompt changes nothing in the first step."""
    pipe, noise = tiny_family(kind), noise_for(kind)
    if not family_of(pipe).has_negative:
        pytest.skip("no unconditional half that takes a prompt")
    keys = []
    for negative in ("a fish", "water"):
        prompt = encode_prompts(pipe, PROMPT, "albatross", negative_prompt=negative)
        keys.append(first_call(kind, prompt, noise, monkeypatch)[0].key)
    assert torch.equal(*keys)


@every_family
def test_a_place_of_the_image_is_that_place_of_the_map(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other noise on the right changes what the right half asks for most."""
    pipe, noise = tiny_family(kind), noise_for(kind)
    prompt = encode_prompts(pipe, PROMPT, "albatross")
    half = noise.shape[-1] // 2
    other = noise.clone()
    other[..., half:] = noise_for(kind, seed=1)[..., half:]
    queries = [first_call(kind, prompt, start, monkeypatch)[0].query for start in (noise, other)]
    side = int(queries[0].shape[2] ** 0.5)
    change = (queries[0] - queries[1]).float().square().sum((0, 1, 3)).view(side, side)
    assert change[:, side // 2 :].mean() > 4 * change[:, : side // 2].mean()


@every_family
def test_latents_are_what_the_pipeline_decodes(kind: str) -> None:
    """With a scheduler that does nothing the picture is the VAE's own."""
    pipe = tiny_family(kind)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, *SIZE, 3), dtype=np.uint8)
    mean, std = encode_images(pipe, images)
    assert mean.shape == std.shape == (2, 4, *(side // pipe.vae_scale_factor for side in SIZE))
    own, prompt = pipe.scheduler, encode_prompts(pipe, PROMPT, "albatross", guided=False)
    with predicting(pipe), reading(pipe, prompt):
        pipe.scheduler.step = lambda prediction, t, sample, *_, **__: (sample, sample)
        picture = pipe(
            **call_arguments(pipe, prompt, 2, SIZE, 1.0),
            latents=pipeline_form(pipe, mean),
            num_inference_steps=1,
            output_type="pt",
        ).images
    assert pipe.scheduler is own
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    of_videos = kind == "QwenImagePipeline"
    with torch.no_grad():
        code = pipe.vae.encode(pixels[:, :, None] if of_videos else pixels)
        code = code.latent_dist.mode() if hasattr(code, "latent_dist") else code.latent
        decoded = pipe.vae.decode(code, return_dict=False)[0]
    decoded = (decoded[:, :, 0] if of_videos else decoded) / 2 + 0.5
    assert torch.allclose(picture, decoded.clamp(0, 1), atol=1e-5)


@every_family
def test_the_loss_reaches_the_vectors_of_every_encoder_and_nothing_else(kind: str) -> None:
    pipe = tiny_family(kind)
    embedding = initial_vectors(pipe, ("good",), 2)
    assert embedding.vectors.keys() == text_encoders(pipe).keys()
    for vectors in embedding.vectors.values():
        vectors.requires_grad_()
    tables = [part.get_input_embeddings().weight.clone() for part in text_encoders(pipe).values()]
    prompt = encode(pipe, " ".join(["a photo of a", *placeholder_tokens(2), "dog"]), embedding)
    leaf = prompt.leaf()
    with predicting(pipe) as predict:
        predict(leaf, noise_for(kind), torch.tensor([500])).square().mean().backward()
    gradients = [
        torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        for tensor in leaf.tensors()
    ]
    torch.autograd.backward(prompt.tensors(), gradients)
    for name, vectors in embedding.vectors.items():
        assert vectors.grad is not None and (vectors.grad.abs().sum(1) > 0).all(), name
    for network in (*text_encoders(pipe).values(), denoiser(pipe), pipe.vae):
        assert all(weight.grad is None for weight in network.parameters())
    for part, table in zip(text_encoders(pipe).values(), tables, strict=True):
        assert torch.equal(part.get_input_embeddings().weight, table)


@every_family
def test_a_batch_is_its_samples_one_by_one(kind: str) -> None:
    """Two noise levels in one pass of step 1, and two seeds in one of step 2."""
    pipe = tiny_family(kind)
    prompt = encode_prompts(pipe, PROMPT, "albatross")
    if views_at_once(pipe, 2) == 2:
        noisy = torch.cat([noise_for(kind, seed) for seed in (0, 1)])
        times = torch.tensor([300, 700])
        with predicting(pipe) as predict, torch.no_grad():
            both = predict(prompt, noisy, times)
            alone = [predict(prompt, noisy[i : i + 1], times[i : i + 1]) for i in (0, 1)]
        assert torch.allclose(both, torch.cat(alone), atol=1e-4)
        assert not torch.allclose(both[:1], both[1:], atol=1e-2)
    together = generate(pipe, prompt, [3, 4], SETTINGS)
    alone = [generate(pipe, prompt, [seed], SETTINGS)[0] for seed in (3, 4)]
    for one, other in zip(together, alone, strict=True):
        assert one is not None and other is not None
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert np.abs(one.heatmap.astype(int) - other.heatmap).max() <= 1
    assert not np.array_equal(together[0].image, together[1].image)


@every_family
def test_step_1_learns_and_its_file_comes_back(kind: str, tmp_path: Any) -> None:
    pipe = tiny_family(kind)
    rng = np.random.default_rng(0)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:40] = 1
    pair = SupportPair("1", rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), mask)
    config = InversionConfig(inversion_steps=2, inversion_train_bs=2, gradient_accumulation=1)
    words = "a photo of a <fss-token> dog"
    support, generator = encode_support(pipe, [pair], 64), torch.Generator().manual_seed(0)
    own = pipe.scheduler
    texts = training_texts("dog", vectors=1)
    learned, losses = learn_vectors(pipe, texts, support, config, 0.6, generator, silent)
    assert pipe.scheduler is own and np.isfinite(losses).all()
    start = initial_vectors(pipe, ("good",), 1)
    for name, vectors in learned.vectors.items():
        assert 1e-5 < (vectors - start.vectors[name]).abs().max() < 2e-3
    path = tmp_path / "learned.safetensors"
    save_embedding(path, learned, "<fss-dog>", family_of(pipe), "tiny")
    again = load_embedding(path)
    assert again.vectors.keys() == learned.vectors.keys()
    for name, vectors in again.vectors.items():
        assert torch.equal(vectors, learned.vectors[name])
    (sample,) = generate(pipe, encode_prompts(pipe, words, "dog", again), [1], SETTINGS)
    (plain,) = generate(pipe, encode_prompts(pipe, "a photo of a dog", "dog"), [1], SETTINGS)
    assert sample is not None and plain is not None
    assert not np.array_equal(sample.image, plain.image)


@every_family
def test_noise_levels_go_from_the_image_to_the_noise(kind: str) -> None:
    pipe = tiny_family(kind)
    schedule = NoiseSchedule(pipe.scheduler, family_of(pipe).flow)
    latents, noise = torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)
    levels = torch.tensor([0, schedule.steps // 2, schedule.steps - 1])
    least, middle, most = schedule.noised(latents, noise, levels)[:, 0, 0, 0].tolist()
    assert least > 0.98 > middle > most and most < 0.1
    assert schedule.timesteps(levels)[2] in (schedule.steps, schedule.steps - 1)


def test_placeholders_do_not_move_the_end_of_a_text() -> None:
    """CLIP of old configurations takes the highest id for the end, and a new token's is higher."""
    pipe = tiny_family("StableDiffusionXLPipeline")
    width = pipe.text_encoder.config.hidden_size
    first, second = (
        Embedding({name: torch.full((1, width), value) for name in text_encoders(pipe)})
        for value in (0.1, -0.1)
    )
    pooled = []
    for embedding in (first, second):
        ((*_, pooled_states, _),) = encode(
            pipe, "a <fss-token> photo of a dog", embedding
        ).answers.values()
        pooled.append(pooled_states)
    encoder = pipe.text_encoder_2
    seen = []
    handle = encoder.text_projection.register_forward_hook(
        lambda _m, args, _o: seen.append(args[0])
    )
    states: list[Any] = []
    other = encoder.register_forward_hook(lambda _m, _a, out: states.append(out.last_hidden_state))
    try:
        encode(pipe, "a <fss-token> photo of a dog", first)
    finally:
        handle.remove()
        other.remove()
    end = pipe.tokenizer_2("a <fss-token> photo of a dog").input_ids.index(
        pipe.tokenizer_2.eos_token_id
    )
    assert torch.allclose(seen[0], states[0][:, end])
    assert not torch.equal(*pooled)


@every_family
def test_what_a_family_cannot_draw_is_said(kind: str) -> None:
    family = FAMILIES[kind]
    assert check_drawing(family, "", (family.multiple * 8,)) == []
    assert ("takes none" in "".join(check_drawing(family, "fog", ()))) is not family.has_negative
    problem = f"--side: must be a multiple of {family.multiple} px with"
    assert check_drawing(family, "", (family.multiple + 1,))[0].startswith(problem)
    with pytest.raises(InputError, match="--side: must be a multiple of"):
        generation_size(tiny_family(kind), (family.multiple + 1,))


@every_family
def test_the_records_arguments_are_the_pipelines(kind: str) -> None:
    pipe = tiny_family(kind)
    parameters = inspect.signature(type(pipe).__call__).parameters
    prompt = encode_prompts(pipe, PROMPT, "albatross")
    given = call_arguments(pipe, prompt, 1, SIZE, 3.0)
    assert given.keys() <= parameters.keys() and "latents" in parameters
    assert is_guided(pipe, 1.0) is False
    maps = torch.zeros(1, 1, 4, 4)
    assert fuse_heatmap([maps], (8, 8)).isfinite().all()

"""The learned words of an object: what text encoders read in their place, and their files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import PLACEHOLDER, placeholder_tokens
from aligndiff.diffusion.embeddings import load_embedding, save_embedding
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.prompts import encode
from aligndiff.diffusion.vectors import Embedding, add_placeholders, with_vectors

CPU = torch.device("cpu")
LEARNED = " ".join(["a photo of a", *placeholder_tokens(2), "dog"])


def load(folder: Path) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice(folder.name, folder, "command line"), CPU, torch.float32)


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    return load(tiny_pipeline_dir)


def some(count: int, seed: int = 1) -> Embedding:
    generator = torch.Generator().manual_seed(seed)
    return Embedding({"text_encoder": torch.randn(count, 32, generator=generator)})


def states(pipe: StableDiffusionPipeline, prompt: str, embedding: Embedding | None) -> Tensor:
    ((conditional, _),) = encode(pipe, prompt, embedding).answers.values()
    assert isinstance(conditional, Tensor)
    return conditional


def test_placeholders_are_added_once_and_no_table_grows(pipe: StableDiffusionPipeline) -> None:
    table = pipe.text_encoder.get_input_embeddings().weight.clone()
    before = states(pipe, "a photo of a dog", None)
    ids = add_placeholders(pipe, 2)["text_encoder"]
    assert add_placeholders(pipe, 2)["text_encoder"] == ids
    assert add_placeholders(pipe, 1)["text_encoder"] == ids[:1]
    assert add_placeholders(pipe, 3)["text_encoder"][:2] == ids
    states(pipe, LEARNED, some(2))
    assert torch.equal(pipe.text_encoder.get_input_embeddings().weight, table)
    assert torch.equal(states(pipe, "a photo of a dog", some(2)), before)


def test_encoding_equals_the_pipelines_own(pipe: StableDiffusionPipeline) -> None:
    prompt = "a photo of an albatross on water"
    own, _ = pipe.encode_prompt(prompt, CPU, 1, False)
    assert torch.equal(states(pipe, prompt, None), own)
    assert own.shape == (1, 77, 32)


def test_a_prompt_that_does_not_fit_is_refused(pipe: StableDiffusionPipeline) -> None:
    assert states(pipe, "dog " * 75, None).shape[1] == 77
    with pytest.raises(InputError, match="prompt of 78 tokens, but the text encoder reads 77"):
        encode(pipe, "dog " * 76)
    with pytest.raises(InputError, match="prompt of 78 tokens, but the text encoder reads 77"):
        encode(pipe, "dog", negative_prompt="dog " * 76)


def test_vectors_are_read_as_if_they_stood_in_the_table(pipe: StableDiffusionPipeline) -> None:
    embedding = some(2)
    ours = states(pipe, LEARNED, embedding)
    assert not torch.allclose(states(pipe, LEARNED, some(2, seed=2)), ours)
    ids = add_placeholders(pipe, 2)["text_encoder"]
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer), mean_resizing=False)
    with torch.no_grad():
        pipe.text_encoder.get_input_embeddings().weight[ids] = embedding.vectors["text_encoder"]
    assert torch.equal(states(pipe, LEARNED, None), ours)


def test_gradients_reach_the_vectors_and_nothing_else(pipe: StableDiffusionPipeline) -> None:
    rows = torch.ones(2, 32, requires_grad=True)
    states(pipe, LEARNED, Embedding({"text_encoder": rows})).square().sum().backward()
    assert rows.grad is not None and (rows.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in pipe.text_encoder.parameters())


def test_no_hook_is_left_after_an_error(pipe: StableDiffusionPipeline) -> None:
    with pytest.raises(RuntimeError, match="inside"), with_vectors(pipe, some(1)):
        raise RuntimeError("inside")
    assert not pipe.text_encoder._forward_hooks and not pipe.text_encoder._forward_pre_hooks


def test_vectors_of_another_model_are_refused(pipe: StableDiffusionPipeline) -> None:
    other = Embedding({"text_encoder": torch.zeros(1, 768)})
    with pytest.raises(InputError, match="vectors of 768 numbers, .* takes 32: it was learned"):
        encode(pipe, LEARNED, other)
    both = Embedding({"text_encoder": torch.zeros(1, 32), "text_encoder_2": torch.zeros(1, 48)})
    with pytest.raises(InputError, match="vectors of 32 \\+ 48 numbers, .* takes 32"):
        encode(pipe, LEARNED, both)


@pytest.mark.parametrize("count", [1, 3])
def test_a_saved_embedding_comes_back_and_diffusers_reads_it_alike(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, tmp_path: Path, count: int
) -> None:
    path = tmp_path / "learned_embeds.safetensors"
    embedding = some(count, seed=2)
    old_mask = os.umask(0o022)
    try:
        save_embedding(path, embedding)
    finally:
        os.umask(old_mask)
    assert path.stat().st_mode & 0o777 == 0o644
    again = load_embedding(path)
    assert torch.equal(again.vectors["text_encoder"], embedding.vectors["text_encoder"])

    ours = states(pipe, " ".join(["a photo of a", *placeholder_tokens(count), "dog"]), again)
    other = load(tiny_pipeline_dir)
    other.load_textual_inversion(path)
    theirs, _ = other.encode_prompt("a photo of a <fss-token> dog", CPU, 1, False)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_two_objects_of_a_dataset_load_into_one_pipeline(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    """Each has its own token, and so has a file from when all had the same one."""
    other = load(tiny_pipeline_dir)
    tokens = ["<fss-fish>", "<fss-my-fish-a1>", PLACEHOLDER]
    for number, token in enumerate(tokens):
        path = tmp_path / f"{number}.safetensors"
        save_embedding(path, some(2, seed=number), token)
        other.load_textual_inversion(path)
    for number, token in enumerate(tokens):
        ours = states(pipe, LEARNED, load_embedding(tmp_path / f"{number}.safetensors"))
        theirs, _ = other.encode_prompt(f"a photo of a {token} dog", CPU, 1, False)
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_embeddings_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    path = tmp_path / "learned_embeds.safetensors"
    with pytest.raises(
        InputError, match="no such file; run python -m scripts.image_mask_inversion"
    ):
        load_embedding(path)
    path.write_bytes(b"pickle or whatever")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_embedding(path)
    save_embedding(path, Embedding({"text_encoder": torch.full((1, 4), float("nan"))}))
    with pytest.raises(InputError, match="not 1 to 16 vectors of finite numbers"):
        load_embedding(path)

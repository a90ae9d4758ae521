"""Directional inversion: lengths stay, steps lie on the sphere, the prior pulls to the word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.support import load_support
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.vectors import initial_vectors, mean_lengths, word_directions
from aligndiff.inversion.config import InversionConfig
from aligndiff.inversion.direction import DirectionSGD, tangent
from aligndiff.inversion.latents import encode_support
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.templates import training_texts

DIM, LENGTH = 8, 0.4


@pytest.fixture
def vectors() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, DIM).requires_grad_()


def towards() -> torch.Tensor:
    return functional.normalize(torch.ones(DIM), dim=-1)


def optimizer(vectors: torch.Tensor, kappa: float = 0.0, lr: float = 0.01) -> DirectionSGD:
    group = {"params": [vectors], "length": LENGTH, "towards": towards()}
    return DirectionSGD([group], lr, kappa)


def test_lengths_are_the_vocabularys_before_and_after(vectors: torch.Tensor) -> None:
    steps = optimizer(vectors)
    for number in range(200):
        assert torch.allclose(vectors.norm(dim=-1), torch.tensor(LENGTH), rtol=1e-6, atol=0)
        vectors.grad = torch.randn(2, DIM, generator=torch.Generator().manual_seed(number))
        steps.step()


def test_a_step_turns_by_the_rate_against_the_tangent_gradient(vectors: torch.Tensor) -> None:
    steps = optimizer(vectors)
    before = functional.normalize(vectors.detach(), dim=-1)
    vectors.grad = torch.randn(2, DIM)
    slope = tangent(vectors.grad, before)
    assert torch.allclose((slope * before).sum(-1), torch.zeros(2), atol=1e-6)
    steps.step()
    after = functional.normalize(vectors.detach(), dim=-1)
    moved = tangent(after - before, before)
    assert torch.allclose(moved.norm(dim=-1), torch.tensor(0.01), rtol=1e-3), "whatever its size"
    assert torch.allclose(functional.cosine_similarity(moved, -slope), torch.ones(2), atol=1e-3)


def test_it_finds_the_direction_that_is_asked_for(vectors: torch.Tensor) -> None:
    target = functional.normalize(torch.arange(DIM).float(), dim=-1)
    steps = optimizer(vectors, lr=0.02)
    for _ in range(300):
        steps.zero_grad()
        (vectors @ target).sum().neg().backward()
        steps.step()
    assert (functional.cosine_similarity(vectors, target[None]) > 0.999).all()


def test_the_prior_pulls_towards_the_word(vectors: torch.Tensor) -> None:
    """A vector that the loss leaves alone turns straight to it."""
    steps = optimizer(vectors, kappa=1e-4)
    before = functional.cosine_similarity(vectors.detach(), towards()[None])
    for _ in range(20):
        vectors.grad = torch.zeros(2, DIM)
        steps.step()
    after = functional.cosine_similarity(vectors.detach(), towards()[None])
    assert (after > before + 0.05).all()


def test_a_run_learns_the_direction_alone(tiny_pipeline_dir: Path, dataset_template: Path) -> None:
    pipe = load_pipeline(ModelChoice("tiny", tiny_pipeline_dir, "test"), "cpu", torch.float32)
    support = encode_support(pipe, load_support(dataset_template / "fish"), 64)
    config = InversionConfig(
        inversion="direction", inversion_steps=4, inversion_train_bs=2, gradient_accumulation=1
    )
    texts = training_texts("fish", vectors=2)
    config = replace(config, vectors=2, initializer=("good", "water"))
    generator = torch.Generator().manual_seed(0)
    learned, losses = learn_vectors(
        pipe, texts, support, config, 0.6, generator, lambda *_, **__: None
    )
    table = pipe.text_encoder.get_input_embeddings().weight
    (rows,), (length,) = learned.vectors.values(), mean_lengths(pipe).values()
    assert length == pytest.approx(table.norm(dim=-1).mean().item(), rel=1e-5)
    assert torch.allclose(rows.norm(dim=-1), torch.tensor(length), rtol=1e-6)
    (start,) = initial_vectors(pipe, ("good", "water"), 2).vectors.values()
    turned = functional.cosine_similarity(rows, start)
    assert (turned < 1 - 1e-5).all() and (turned > 0.99).all() and len(losses) == 4


def test_the_direction_of_a_word(tiny_pipeline_dir: Path) -> None:
    """Of one that is several tokens, that of their mean."""
    pipe = load_pipeline(ModelChoice("tiny", tiny_pipeline_dir, "test"), "cpu", torch.float32)
    table = pipe.text_encoder.get_input_embeddings().weight
    ids = pipe.tokenizer("albatross", add_special_tokens=False).input_ids
    assert len(ids) == 2
    (direction,) = word_directions(pipe, "albatross").values()
    expected = functional.normalize(table[ids].mean(0), dim=-1)
    assert torch.allclose(direction, expected, atol=1e-6)

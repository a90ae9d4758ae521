"""The probe: losses that compare, no part in learning, and a stop when they are flat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.records import InversionRecord, read_record
from aligndiff.dataset.support import load_support
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.inversion.config import PROBE_EVERY, InversionConfig
from aligndiff.inversion.latents import SupportLatents, encode_support
from aligndiff.inversion.learn import learn_vectors
from aligndiff.inversion.probe import Probe, is_flat, learning_plot
from aligndiff.inversion.templates import training_texts

TEXTS = training_texts("fish", vectors=1)
RUN = {"inversion_train_bs": 1, "gradient_accumulation": 1, "inversion_lr": 0.02}


@pytest.fixture(scope="module")
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice("tiny", tiny_pipeline_dir, "test"), "cpu", torch.float32)


@pytest.fixture
def support(pipe: StableDiffusionPipeline, dataset_template: Path) -> SupportLatents:
    return encode_support(pipe, load_support(dataset_template / "fish"), 64)


def learn(
    pipe: StableDiffusionPipeline,
    support: SupportLatents,
    config: InversionConfig,
    probe: Probe | None,
) -> tuple[torch.Tensor, list[float], list[int]]:
    """The vectors, the losses, and by how much the bar advanced each time."""
    generator, counts = torch.Generator().manual_seed(5), list[int]()
    embedding, losses = learn_vectors(
        pipe,
        TEXTS,
        support,
        config,
        0.6,
        generator,
        lambda count=1, *_, **__: counts.append(count),
        probe=probe,
    )
    return embedding.vectors["text_encoder"], losses, counts


def test_learning_is_the_same_with_a_probe_and_shows_in_it(
    pipe: StableDiffusionPipeline, support: SupportLatents
) -> None:
    config = InversionConfig(inversion_steps=2 * PROBE_EVERY + 1, **RUN)
    plain, losses, _ = learn(pipe, support, config, None)
    probe = Probe(pipe, support, config)
    state = torch.get_rng_state()
    watched, others, _ = learn(pipe, support, config, probe)
    assert torch.equal(plain, watched) and losses == others
    assert torch.equal(torch.get_rng_state(), state)
    assert [step for step, _ in probe.curve] == [0, PROBE_EVERY, 2 * PROBE_EVERY]
    assert probe.losses[0] > probe.losses[1] > probe.losses[2]
    again = Probe(pipe, support, config)
    assert torch.equal(again.batch.noisy, probe.batch.noisy)
    assert len(set(again.batch.timesteps.tolist())) == len(again.batch.timesteps)


def test_patience_ends_a_run_that_learns_nothing(
    pipe: StableDiffusionPipeline, support: SupportLatents
) -> None:
    """At a rate of next to nothing, so that the probe is flat."""
    config = InversionConfig(inversion_steps=100, patience=2, **{**RUN, "inversion_lr": 1e-12})
    probe = Probe(pipe, support, config)
    _, losses, counts = learn(pipe, support, config, probe)
    assert len(probe.losses) == 3 and len(losses) == 2 * PROBE_EVERY + 1
    assert sum(counts) == 100, "the bar is full"


@pytest.mark.parametrize(
    ("losses", "patience", "flat"),
    [
        ([1.0], 1, False),
        ([1.0, 0.9, 0.8, 0.7], 2, False),
        ([1.0, 0.7, 0.6, 0.6, 0.6], 2, True),
        ([1.0, 0.6, 0.599, 0.598], 2, True),  # a hundredth of the fall
        ([1.0, 0.6, 0.61, 0.5], 2, False),  # a bump is no end
        ([1.0, 1.1, 1.2], 2, True),
        ([1.0, 0.6, 0.6, 0.6], 2, True),
        ([1.0, 0.6, 0.6], 2, False),
        ([1.0, 0.6], 2, False),
    ],
)
def test_flat(losses: list[float], patience: int, flat: bool) -> None:
    assert is_flat(losses, patience) is flat


def test_the_record_keeps_the_probe_and_the_plot_shows_it(tmp_path: Path) -> None:
    record = InversionRecord({"seed": 0}, "cpu", (3.0, 1.0), ((0, 2.0), (10, 1.5)))
    record.write(tmp_path)
    assert read_record(tmp_path) == record
    plain = InversionRecord({"seed": 0}, "cpu", (3.0, 1.0))
    plot, without = learning_plot(record, ""), learning_plot(plain, "")
    assert plot.shape == without.shape and not np.array_equal(plot, without)
    assert learning_plot(record, "", "", (192, 192)).shape == (192, 192, 3)

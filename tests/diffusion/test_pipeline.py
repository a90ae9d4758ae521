"""Sizes and schedulers of a pipeline, on a real small one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler, StableDiffusionPipeline

from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import TextEntry
from aligndiff.diffusion.pipeline import image_size, scheduled
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.sampling import SamplerSettings, encode_entry, generate


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    return load_pipeline(chosen, torch.device("cpu"), torch.float32)


def test_a_loaded_pipeline_is_ready_to_draw(pipe: StableDiffusionPipeline) -> None:
    assert image_size(pipe) == 64
    assert pipe.safety_checker is None
    assert not any(p.requires_grad for p in pipe.unet.parameters())
    assert not pipe.unet.training and not pipe.text_encoder.training


# Another scheduler keeps what the model was trained with, and is gone afterwards

FISH = TextEntry(type="text", category="fish", D_good_dir="a", text="a photo of a fish")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "trailing", None])
@pytest.mark.parametrize(
    ("name", "kind"), [("dpm++", DPMSolverMultistepScheduler), ("pndm", PNDMScheduler)]
)
def test_another_scheduler_keeps_the_noise_levels_and_the_prediction(
    pipe: StableDiffusionPipeline, name: str, kind: type, spacing: str | None, prediction: str
) -> None:
    """Without a word on the spacing it is the model's own class that decides: "leading" here."""
    said = {} if spacing is None else {"timestep_spacing": spacing}
    own = PNDMScheduler(
        beta_start=0.001,
        beta_end=0.013,
        beta_schedule="scaled_linear",
        steps_offset=1,
        prediction_type=prediction,
        **said,
    )
    pipe.scheduler = own
    with scheduled(pipe, name):
        assert type(pipe.scheduler) is kind
        config = pipe.scheduler.config
        assert (config.timestep_spacing, config.prediction_type) == (
            spacing or "leading",
            prediction,
        )
        assert torch.equal(pipe.scheduler.alphas_cumprod, own.alphas_cumprod)
    assert pipe.scheduler is own


def test_dpm_takes_the_linspace_of_a_model_that_has_it(pipe: StableDiffusionPipeline) -> None:
    pipe.scheduler = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=3)
    with scheduled(pipe, "dpm++"):
        config = pipe.scheduler.config
        assert (config.timestep_spacing, config.algorithm_type, config.solver_order) == (
            *("linspace", "dpmsolver++"),
            2,
        )


def test_default_is_the_very_scheduler_and_an_error_brings_it_back(
    pipe: StableDiffusionPipeline,
) -> None:
    own = pipe.scheduler
    with scheduled(pipe, "default"):
        assert pipe.scheduler is own
    with pytest.raises(KeyboardInterrupt), scheduled(pipe, "dpm++"):
        raise KeyboardInterrupt
    assert pipe.scheduler is own


def test_each_scheduler_draws_images_of_its_own(pipe: StableDiffusionPipeline) -> None:
    prompt, images = encode_entry(pipe, FISH), []
    for name in ("default", "dpm++", "pndm"):
        with scheduled(pipe, name):
            (drawing,) = generate(pipe, prompt, [3], SamplerSettings(3, 7.5, (64, 64)))
        assert drawing is not None and np.ptp(drawing.heatmap) > 20
        images.append(drawing.image)
    assert np.array_equal(images[0], images[2]), "the small model's own scheduler is PNDM"
    assert not np.array_equal(images[0], images[1])

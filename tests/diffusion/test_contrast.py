"""Regions told apart by the error of denoising them: the embedded model and others."""

from __future__ import annotations

import numpy as np
import pytest

from aligndiff.diffusion.contrast import denoising_contrasts
from aligndiff.diffusion.load import load_diffusion_model, resolve_diffusion_model
from aligndiff.diffusion.prompts import encode
from scripts.tiny_world.world.scene import random_scene, render
from tests.families import tiny_family

CATEGORIES = ("house", "star", "fish")


def test_a_thing_is_denoised_better_under_its_own_name() -> None:
    """Of houses beside other things the house has the larger contrast; the same seed, the same."""
    pipe = load_diffusion_model(resolve_diffusion_model("tiny", None), "cpu", "float32")
    own, *others = (encode(pipe, f"a photo of a {name}") for name in CATEGORIES)
    scheduler, right = pipe.scheduler, 0
    for seed in (88_000_000, 88_000_001, 88_000_002):
        drawn = render(random_scene(seed, "house", alone=False))
        first, second = denoising_contrasts(pipe, drawn.image, drawn.masks[:2], own, others)
        right += first > max(second, 0)
    assert right == 3 and pipe.scheduler is scheduler
    again = denoising_contrasts(pipe, drawn.image, drawn.masks[:2], own, others)
    assert again == [first, second]
    assert denoising_contrasts(pipe, drawn.image, drawn.masks[:1], own, [own]) == [0.0]


@pytest.mark.parametrize("kind", ["FluxPipeline", "Flux2KleinPipeline", "QwenImagePipeline"])
def test_other_families_judge(kind: str) -> None:
    """Packed latents, patched ones, a VAE of videos, all of flow matching."""
    pipe = tiny_family(kind)
    own, other = encode(pipe, "a photo of a dog"), encode(pipe, "albatross in the sky")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    values = denoising_contrasts(pipe, image, [left, ~left, left], own, [other])
    assert np.isfinite(values).all() and values[0] == values[2] != values[1]
    assert denoising_contrasts(pipe, image, [left], own, [own]) == [0.0]

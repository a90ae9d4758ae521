"""Heatmaps from support masks: weights by hand, and on the tiny model of the repository."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aligndiff.api import load_diffusion_model
from aligndiff.core.errors import InputError
from aligndiff.core.options import MAX_SEED
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import HEATMAP_FILE, heatmap_findings, read_sample
from aligndiff.dataset.support import SupportPair
from aligndiff.diffusion.looking import look_at
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.sampling import encode_prompts
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.plan import plan_refinements
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.generate import synthesize
from aligndiff.synthesis.heatmaps import refined, support
from aligndiff.synthesis.plan import list_samples, plan_synthesis, prepare_folders
from scripts.tiny_world.world.scene import random_scene, render

PROMPT, CATEGORY, SIZE = "a photo of a tree", "tree", (128, 128)


@pytest.fixture(scope="module")
def pipe():
    return load_diffusion_model("tiny", "cpu", "float32")


@pytest.fixture(scope="module")
def prompt(pipe):
    return encode_prompts(pipe, PROMPT, CATEGORY)


def scenes(first: int, count: int) -> list[SupportPair]:
    drawn = [render(random_scene(first + i, CATEGORY, alone=True)) for i in range(count)]
    return [SupportPair("scene", one.image, one.masks[0].astype(np.uint8)) for one in drawn]


def test_weights_are_squares_of_the_area_above_one_half() -> None:
    """Areas 1, 3/4 and 0 of three heads over two positions of object and two of background."""
    heads = torch.tensor([[[[0.9, 0.8], [0.1, 0.2]], [[0.9, 0.3], [0.1, 0.5]], [[0, 0], [1, 1.0]]]])
    mask = np.array([[1, 1], [0, 0]], np.uint8)
    weights = support.head_weights(heads, [mask])
    assert weights.tolist() == pytest.approx([0.8, 0.2, 0])


def test_where_no_head_knows_the_object_all_count_alike() -> None:
    heads = torch.zeros(1, 2, 2, 2)
    heads[:, :, 1] = 1
    assert support.head_weights(heads, [np.array([[1, 1], [0, 0]], np.uint8)]).tolist() == [0.5] * 2
    everywhere = np.ones((2, 2), np.uint8)
    assert support.head_weights(heads, [everywhere]).tolist() == [0.5] * 2


def test_ignored_pixels_choose_no_threshold() -> None:
    levels = np.array([[0.9, 0.3, 0.6, 0.1]], np.float32)
    assert support.best_threshold([levels], [np.array([[1, 0, 255, 0]], np.uint8)])[1] == 1.0


def test_spreading_joins_what_looks_at_each_other() -> None:
    """Positions 0 and 1 share their attention, 2 and 3 keep to themselves."""
    image = torch.eye(4)
    image[:2, :2] = 0.5
    maps = torch.tensor([[[1.0, 0.0], [0.2, 0.4]]])
    spread = refined.spread(maps, image[None], (2, 2))
    assert torch.allclose(spread, torch.tensor([[[0.5, 0.5], [0.2, 0.4]]]))


def test_rows_of_attention_sum_to_one_and_noise_is_the_images_own(pipe, prompt) -> None:
    images = np.stack([pair.image for pair in scenes(77_000_000, 2)])
    both = look_at(pipe, prompt, images, [5, 6])
    assert torch.allclose(both.image.sum(-1), torch.ones(2, 256), atol=1e-4)
    assert (both.heads.amin((-2, -1)) == 0).all() and (both.heads.amax((-2, -1)) <= 1).all()
    alone = look_at(pipe, prompt, images[1:], [6])
    assert torch.allclose(alone.heads, both.heads[1:], atol=1e-3)


def test_looking_puts_everything_back(pipe, prompt) -> None:
    scheduler, processors = pipe.scheduler, dict(pipe.unet.attn_processors)
    look_at(pipe, prompt, np.zeros((1, *SIZE, 3), np.uint8), [MAX_SEED])
    assert pipe.scheduler is scheduler and pipe.unet.attn_processors == processors
    hooks = [module._forward_hooks for module in pipe.unet.modules()]
    assert not any(hooks) and pipe.vae.dtype == torch.float32


def test_a_tree_is_found_by_heads_that_show_the_support_masks(pipe, prompt) -> None:
    """A small one among four may be missed: the median says what the definition does."""
    definition = refined.learn(pipe, prompt, scenes(78_000_000, 5), SIZE)
    fresh = scenes(79_000_000, 4)
    images = np.stack([pair.image for pair in fresh])
    heatmaps = definition.heatmaps(pipe, prompt, images, range(4))
    assert heatmaps.dtype == np.uint8 and heatmaps.shape == (4, *SIZE)
    levels = [heatmap / np.float32(255) for heatmap in heatmaps]
    ious = [
        support._iou(level > definition.threshold, pair.mask)
        for level, pair in zip(levels, fresh, strict=True)
    ]
    assert np.median(ious) > 0.7 and definition.support_iou > 0.8


@pytest.fixture
def small(tiny_pipeline_dir: Path):
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    return chosen, load_pipeline(chosen, torch.device("cpu"), torch.float32)


def test_step_2_notes_the_threshold_and_step_3_takes_it(dataset_dir, small) -> None:
    chosen, pipe = small
    config = SynthesisConfig(image_per_entry=2, num_inference_steps=2, heatmap="refined")
    bank = load_prompt_bank(dataset_dir)
    entry = next(entry for entry in bank.entries if entry.type == "text")
    plans = plan_synthesis_of(bank, entry, chosen, config)
    samples = list_samples(plans)
    prepare_folders(plans, samples, False, True)
    synthesize(pipe, samples, config, lambda *_, **__: None)
    place = EntryFolder(bank.root, entry)
    noted = json.loads((place.folder / HEATMAP_FILE).read_text())
    assert noted["heatmap"] == "refined" and 0 < noted["threshold"] < 1
    assert (
        read_sample(place, 1).read_heatmap().shape == read_sample(place, 1).read_image().shape[:2]
    )
    only = replace(bank, entries=(entry,))
    (plan,) = plan_refinements(only, RefinementConfig(), "x", "auto")
    assert plan.settings["heatmap_threshold"] == noted["threshold"]
    (place.folder / HEATMAP_FILE).write_text("{}")
    with pytest.raises(InputError, match="tells no threshold"):
        heatmap_findings(place)


def plan_synthesis_of(bank, entry, chosen, config):
    return plan_synthesis(replace(bank, entries=(entry,)), chosen, config, "auto")


def test_without_support_masks_the_published_heatmap_stays(dataset_dir, small, caplog) -> None:
    chosen, pipe = small
    config = SynthesisConfig(image_per_entry=1, num_inference_steps=2, heatmap="support")
    bank = load_prompt_bank(dataset_dir)
    entry = next(entry for entry in bank.entries if entry.type == "text")
    for path in (bank.root / entry.support_dir).glob("*.png"):
        path.unlink()
    plans = plan_synthesis_of(bank, entry, chosen, config)
    samples = list_samples(plans)
    prepare_folders(plans, samples, False, True)
    assert synthesize(pipe, samples, config, lambda *_, **__: None).made == 1
    assert "heatmaps are the published ones" in caplog.text
    assert heatmap_findings(EntryFolder(bank.root, entry)) is None

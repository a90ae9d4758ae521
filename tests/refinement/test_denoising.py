"""--regions denoising: which model is asked, about which categories, and what the records say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.api import refine_masks
from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import settings_on_disk
from aligndiff.diffusion.load import load_diffusion_model
from aligndiff.refinement.config import RefinementConfig
from aligndiff.refinement.denoising import choose_judging
from scripts import mask_generation
from tests.synthesized_samples import add_synthesized_samples


def asking(model: Path | str | None) -> RefinementConfig:
    return RefinementConfig(regions="denoising", region_model=model and str(model))


def test_all_categories_of_the_file_are_told_apart(
    dataset_dir: Path, tiny_pipeline_dir: Path
) -> None:
    bank = load_prompt_bank(dataset_dir, ["fish"])
    judging = choose_judging(asking(tiny_pipeline_dir), bank)
    assert judging is not None and judging.categories == ("fish", "albatross")
    assert judging.settings["region_categories"] == ["fish", "albatross"]
    assert judging.settings["region_model"].startswith(tiny_pipeline_dir.name)
    assert choose_judging(RefinementConfig(), bank) is None
    pipe = load_diffusion_model(judging.model, "cpu", "float32")
    judge = judging.judge(pipe, "fish")
    assert (judge.own.prompt, [other.prompt for other in judge.others]) == (
        *("a photo of a fish", ["a photo of a albatross"]),
    )
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    both = judge(image, [left, ~left])
    assert len(both) == 2 and np.isfinite(both).all()


def test_a_mistake_is_told_before_anything_is_loaded(dataset_dir: Path) -> None:
    bank = load_prompt_bank(dataset_dir)
    with pytest.raises(MissingWeightsError, match="nowhere"):
        choose_judging(asking("nowhere"), bank)
    with pytest.raises(InputError, match="--region_model: --regions object asks no model; leave"):
        RefinementConfig(region_model="tiny")
    with pytest.raises(InputError, match="needs a dataset folder"):
        refine_masks(None, [], [], regions="denoising", refine_edges="none")


def test_step_3_asks_the_model_and_goes_on_with_the_same_one(
    dataset_dir: Path, tiny_pipeline_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_synthesized_samples(dataset_dir, 1)
    command = ["--dataset_dir", str(dataset_dir), "--fss_ckpt_path", "tiny", "--device", "cpu"]
    command += ["--regions", "denoising", "--no_sheet"]
    asked = [*command, "--region_model", str(tiny_pipeline_dir)]
    assert mask_generation.main(asked) == 0
    assert f"regions judged by {tiny_pipeline_dir}" in capsys.readouterr().out
    bank = load_prompt_bank(dataset_dir)
    settings = settings_on_disk(EntryFolder(bank.root, bank.entries[0]))
    assert settings["regions"] == "denoising"
    assert settings["region_categories"] == ["fish", "albatross"]
    assert mask_generation.main([*asked, "--categories", "fish"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(InputError, match="masks were made with other settings .*region_model"):
        mask_generation.main([*command, "--region_model", "tiny"])

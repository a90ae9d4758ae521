"""A Stable Diffusion folder that is broken, or of a kind that does not work here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.weights import ModelChoice
from aligndiff.diffusion.pretrained import load_pipeline

CPU = torch.device("cpu")


def load(folder: Path) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice(folder.name, folder, "command line"), CPU, torch.float32)


def test_precision_reaches_every_network(tiny_pipeline_dir: Path) -> None:
    chosen = ModelChoice("small", tiny_pipeline_dir, "command line")
    pipe = load_pipeline(chosen, CPU, torch.bfloat16)
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.bfloat16}


def test_a_model_that_cannot_be_loaded_leaves_the_number_format_as_it_was(
    tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_pipeline_dir, tmp_path / "model"))
    (folder / "unet" / "config.json").write_text("[]")
    with pytest.raises(MissingWeightsError):
        load_pipeline(ModelChoice("broken", folder, "command line"), CPU, torch.bfloat16)
    assert torch.get_default_dtype() == torch.float32


def test_weights_that_are_not_there_are_one_line_that_offers_tiny(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        load_pipeline(ModelChoice("no/model", "no/model", "dataset.json"), CPU, torch.float32)
    (line,) = caught.value.problems
    assert line.startswith("diffusion model no/model (dataset.json): no such folder, and cannot be")
    assert line.endswith("--diffusion_model tiny")
    with pytest.raises(MissingWeightsError, match="cannot be loaded from the folder"):
        load_pipeline(ModelChoice("broken", tmp_path, "command line"), CPU, torch.float32)


def test_a_folder_without_vocabulary_is_broken_not_a_model_of_no_words(
    tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_pipeline_dir, tmp_path / "model"))
    for path in (folder / "tokenizer").iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()
    with pytest.raises(MissingWeightsError, match="the tokenizer's vocabulary .* is missing"):
        load(folder)


def test_v_prediction_is_taken_and_other_kinds_are_refused(
    tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_pipeline_dir, tmp_path / "model"))
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"prediction_type": "v_prediction"}))
    assert load(folder).scheduler.config.prediction_type == "v_prediction"
    path.write_text(json.dumps(config | {"prediction_type": "sample"}))
    with pytest.raises(InputError, match="predicts 'sample', not epsilon or v_prediction"):
        load(folder)

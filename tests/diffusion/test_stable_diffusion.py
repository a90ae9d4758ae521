"""Loading, prompts, learned vectors and schedulers, on a real small pipeline."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler, StableDiffusionPipeline

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.entries import PLACEHOLDER, TextEntry, placeholder_tokens
from aligndiff.diffusion.embeddings import load_embedding, save_embedding
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.sampling import SamplerSettings, encode_entry, generate
from aligndiff.diffusion.stable_diffusion import (
    add_placeholders,
    encode_prompt,
    image_size,
    scheduled,
    set_placeholder_vectors,
    trainable_vectors,
)

CPU = torch.device("cpu")


def load(folder: Path) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice(folder.name, folder, "command line"), CPU, torch.float32)


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    return load(tiny_pipeline_dir)


def test_a_loaded_pipeline_is_ready_to_draw(pipe: StableDiffusionPipeline) -> None:
    assert image_size(pipe) == 64
    assert pipe.safety_checker is None
    assert not any(p.requires_grad for p in pipe.unet.parameters())
    assert not pipe.unet.training and not pipe.text_encoder.training


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


def test_placeholders_are_added_once_and_keep_the_rest(pipe: StableDiffusionPipeline) -> None:
    table = pipe.text_encoder.get_input_embeddings().weight.clone()
    before = encode_prompt(pipe, "a photo of a dog")
    ids = add_placeholders(pipe, 2)
    assert add_placeholders(pipe, 2) == ids
    assert add_placeholders(pipe, 1) == ids[:1]
    assert add_placeholders(pipe, 3)[:2] == ids
    grown = pipe.text_encoder.get_input_embeddings().weight
    assert grown.shape[0] == table.shape[0] + 3 == len(pipe.tokenizer)
    assert torch.equal(grown[: len(table)], table) and not grown.requires_grad
    assert torch.equal(encode_prompt(pipe, "a photo of a dog"), before)


def test_encode_prompt_equals_the_pipelines_own_encoding(pipe: StableDiffusionPipeline) -> None:
    prompt = "a photo of an albatross on water"
    own, _ = pipe.encode_prompt(prompt, CPU, 1, False)
    assert torch.equal(encode_prompt(pipe, prompt), own)
    assert encode_prompt(pipe, prompt).shape == (1, 77, 32)


def test_a_prompt_that_does_not_fit_is_refused(pipe: StableDiffusionPipeline) -> None:
    assert encode_prompt(pipe, "dog " * 75).shape[1] == 77
    with pytest.raises(InputError, match="prompt of 78 tokens, but the text encoder reads 77"):
        encode_prompt(pipe, "dog " * 76)


def test_set_vectors_and_trainable_vectors_give_the_same_encoding(
    pipe: StableDiffusionPipeline,
) -> None:
    rows = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    ids = add_placeholders(pipe, 2)
    prompt = " ".join(["a photo of a", *placeholder_tokens(2), "dog"])
    table = pipe.text_encoder.get_input_embeddings()
    set_placeholder_vectors(pipe, ids, torch.zeros_like(rows))
    with trainable_vectors(pipe.text_encoder, ids, rows):
        swapped = encode_prompt(pipe, prompt)
    assert not table._forward_hooks
    assert not torch.allclose(encode_prompt(pipe, prompt), swapped)
    set_placeholder_vectors(pipe, ids, rows)
    assert torch.equal(encode_prompt(pipe, prompt), swapped)


def test_gradients_reach_the_vectors_and_nothing_else(pipe: StableDiffusionPipeline) -> None:
    ids = add_placeholders(pipe, 2)
    rows = torch.ones(2, 32, requires_grad=True)
    with trainable_vectors(pipe.text_encoder, ids, rows):
        encode_prompt(
            pipe, " ".join(["a", *placeholder_tokens(2), "dog"])
        ).square().sum().backward()
    assert rows.grad is not None and (rows.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in pipe.text_encoder.parameters())


def test_trainable_vectors_leaves_no_hook_after_an_error(pipe: StableDiffusionPipeline) -> None:
    table = pipe.text_encoder.get_input_embeddings()
    with pytest.raises(RuntimeError, match="inside"):
        with trainable_vectors(pipe.text_encoder, [0], torch.zeros(1, 32)):
            raise RuntimeError("inside")
    assert not table._forward_hooks


def test_vectors_of_another_model_are_refused(pipe: StableDiffusionPipeline) -> None:
    with pytest.raises(InputError, match="vectors of 768 numbers, .* takes 32: it was learned"):
        set_placeholder_vectors(pipe, add_placeholders(pipe, 1), torch.zeros(1, 768))


@pytest.mark.parametrize("count", [1, 3])
def test_a_saved_embedding_comes_back_and_diffusers_reads_it_alike(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, tmp_path: Path, count: int
) -> None:
    path = tmp_path / "learned_embeds.safetensors"
    rows = torch.randn(count, 32, generator=torch.Generator().manual_seed(2))
    old_mask = os.umask(0o022)
    try:
        save_embedding(path, rows.clone().requires_grad_())
    finally:
        os.umask(old_mask)
    assert path.stat().st_mode & 0o777 == 0o644
    assert torch.equal(load_embedding(path), rows)

    set_placeholder_vectors(pipe, add_placeholders(pipe, count), rows)
    ours = encode_prompt(pipe, " ".join(["a photo of a", *placeholder_tokens(count), "dog"]))
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
    rows = torch.randn(3, 2, 32, generator=torch.Generator().manual_seed(2))
    for number, token in enumerate(tokens):
        path = tmp_path / f"{number}.safetensors"
        save_embedding(path, rows[number], token)
        assert torch.equal(load_embedding(path), rows[number])
        other.load_textual_inversion(path)
    for token, vectors in zip(tokens, rows, strict=True):
        set_placeholder_vectors(pipe, add_placeholders(pipe, 2), vectors)
        ours = encode_prompt(pipe, " ".join(["a photo of a", *placeholder_tokens(2), "dog"]))
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
    save_embedding(path, torch.full((1, 4), float("nan")))
    with pytest.raises(InputError, match="not 1 to 16 vectors of finite numbers"):
        load_embedding(path)


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

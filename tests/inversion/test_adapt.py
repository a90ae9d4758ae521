"""Step 1 with the denoiser tuned too: what learns, what lies on disk, what step 2 makes of it."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import ADAPTATIONS, EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, read_record
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.prompts import EncodedPrompt
from aligndiff.diffusion.sampling import draw
from aligndiff.inversion.config import EMBEDDING_ALONE, AdaptConfig, InversionConfig, SheetConfig
from aligndiff.inversion.learn import learn_object
from aligndiff.inversion.plan import InversionJob, check_jobs, copy_embedding, plan_jobs
from scripts import diffuse_img_attention, image_mask_inversion

QUICK = InversionConfig(inversion_train_bs=2, gradient_accumulation=2)
SHEET = SheetConfig(sheet_samples=1, num_inference_steps=1, guidance_scale=1.0)
LORA = AdaptConfig(adapt="lora", adapt_steps=2, lora_rank=2, prior_weight=1.0)
FULL = replace(LORA, adapt="full")
FISH = Path("fish", "learned_embeddings")


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aligndiff.inversion.adapt.PRIOR_IMAGES", 2)


pytestmark = pytest.mark.usefixtures("few_images")


def load(folder: Path, dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice(folder.name, folder, "test"), "cpu", dtype)


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    return load(tiny_pipeline_dir)


def silent(count: int = 1, category: str = "", *, status: str = "") -> None:
    pass


def jobs_of(
    dataset_dir: Path, adapt: AdaptConfig, config: InversionConfig = QUICK, model: str = "m"
) -> list[InversionJob]:
    bank = load_prompt_bank(dataset_dir)
    recipe = adapt.applied_to(config).recipe(model, "auto") | adapt.recipe(SHEET)
    return plan_jobs(bank.root, bank.objects[0], recipe, config.bg_lambda)


def learn(
    pipe: StableDiffusionPipeline,
    dataset_dir: Path,
    adapt: AdaptConfig,
    config: InversionConfig = QUICK,
) -> dict[str, torch.Tensor]:
    """Learn the first object; what was saved, the vectors among it."""
    jobs = jobs_of(dataset_dir, adapt, config)
    assert learn_object(pipe, jobs, adapt.applied_to(config), silent, adapt) == {}
    assert all(job.is_learned for job in jobs)
    return learned(jobs[-1])


def learned(job: InversionJob) -> dict[str, torch.Tensor]:
    assert job.adaptation is not None
    return load_file(job.adaptation) | load_file(job.embedding)


def close(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.allclose(value.float(), second[name].float(), atol=2e-4)
        for name, value in first.items()
    )


@pytest.mark.parametrize("adapt", [LORA, FULL], ids=["lora", "full"])
def test_token_and_denoiser_learn_and_the_model_is_put_back(
    pipe: StableDiffusionPipeline, dataset_dir: Path, adapt: AdaptConfig
) -> None:
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    tensors = learn(pipe, dataset_dir, adapt)
    after = pipe.unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    if adapt is LORA:  # the second factors start at 0
        changed = [bool(value.any()) for name, value in tensors.items() if "lora_B" in name]
    else:
        changed = [not torch.equal(v.half(), tensors[name]) for name, v in before.items()]
    assert sum(changed) > 0.9 * len(changed)
    record = read_record(dataset_dir / FISH)
    assert record is not None and record.adaptation == ADAPTATIONS[adapt.adapt]
    assert len(record.loss) == 2 == record.settings["inversion_steps"]
    assert record.settings["adapt_lr"] == {"lora": 1e-3, "full": 2e-4}[adapt.adapt]
    assert ("lora_rank" in record.settings) == (adapt is LORA)


@pytest.mark.parametrize("adapt", [LORA, FULL], ids=["lora", "full"])
def test_16_bit_models_learn_in_float32(
    tiny_pipeline_dir: Path, dataset_dir: Path, adapt: AdaptConfig
) -> None:
    pipe = load(tiny_pipeline_dir, torch.bfloat16)
    tensors = learn(pipe, dataset_dir, adapt)
    assert all(value.isfinite().all() for value in tensors.values())
    assert {weight.dtype for weight in pipe.unet.parameters()} == {torch.bfloat16}
    record = read_record(dataset_dir / FISH)
    assert record is not None and record.ran_on == "cpu bfloat16"


def test_runs_are_alike_and_checkpointing_changes_nothing(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, dataset_dir: Path
) -> None:
    first = learn(pipe, dataset_dir, LORA)
    for path in (dataset_dir / FISH).glob("*.safetensors"):
        path.unlink()
    again = learn(load(tiny_pipeline_dir), dataset_dir, LORA)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for path in (dataset_dir / FISH).glob("*.safetensors"):
        path.unlink()
    assert close(first, learn(pipe, dataset_dir, LORA, replace(QUICK, gradient_checkpointing=True)))


def test_out_of_memory_takes_the_same_steps(
    pipe: StableDiffusionPipeline, dataset_dir: Path, memory_for: Any
) -> None:
    """What the attempt that did not fit has left in the weights' gradients must not count."""
    first = learn(pipe, dataset_dir, LORA)
    for path in (dataset_dir / FISH).glob("*.safetensors"):
        path.unlink()
    drawn, calls = 2, itertools.count()  # two images of one step; then a pass fits and none after
    memory_for(pipe.unet, lambda: 2 if next(calls) < drawn else 1)
    assert close(first, learn(pipe, dataset_dir, LORA))


def test_the_prior_is_drawn_once_and_holds_the_weights(
    pipe: StableDiffusionPipeline, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def count(pipe: Any, prompt: EncodedPrompt, seeds: list[int], settings: Any) -> Any:
        drawn.append((prompt.prompt, len(seeds), settings.num_inference_steps))
        return draw(pipe, prompt, seeds, settings)

    monkeypatch.setattr("aligndiff.diffusion.sampling.draw", count)
    config = replace(QUICK, bg_lambda=(0.2, 1.0))
    with_prior = learn(pipe, dataset_dir, LORA, config)
    assert drawn == [("a photo of a fish", 2, 1)]
    first, second = jobs_of(dataset_dir, LORA, config)
    assert not close(learned(first), learned(second))
    without = replace(LORA, prior_weight=0.0)
    (job,) = jobs_of(dataset_dir, without, replace(config, bg_lambda=(1.0,)))
    assert learn_object(pipe, [job], without.applied_to(config), silent, without) == {}
    assert len(drawn) == 1 and not close(with_prior, learned(job))
    assert not any(name.startswith("prior_num") for name in job.settings)


def test_embeddings_from_before_stay_learned() -> None:
    assert EMBEDDING_ALONE.recipe(SHEET) == {}
    assert EMBEDDING_ALONE.applied_to(QUICK) is QUICK
    recipe = AdaptConfig(adapt="full", adapt_steps=7, prior_weight=0.5).recipe(SHEET)
    assert {*recipe} == {
        *("adapt", "adapt_lr", "prior_weight"),
        *("prior_num_inference_steps", "prior_guidance_scale", "prior_scheduler"),
    }


def test_a_value_of_a_sweep_is_adopted_with_its_weights(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    config = replace(QUICK, bg_lambda=(0.2, 1.0))
    learn(pipe, dataset_dir, LORA, config)
    (job,) = jobs_of(dataset_dir, LORA, replace(config, bg_lambda=(1.0,)))
    source = job.adoptable()
    assert source == dataset_dir / FISH / "bg_lambda_1"
    copy_embedding(source, job.folder)
    assert job.is_learned and job.adaptation is not None
    assert job.adaptation.read_bytes() == (source / job.adaptation.name).read_bytes()


def test_weights_that_are_gone_or_of_another_kind_are_told(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    learn(pipe, dataset_dir, LORA)
    with pytest.raises(InputError, match="adapt was lora, now full"):
        check_jobs(jobs_of(dataset_dir, FULL))
    (dataset_dir / FISH / ADAPTATIONS["lora"]).unlink()
    with pytest.raises(InputError, match="there is no pytorch_lora_weights.safetensors beside it"):
        check_jobs(jobs_of(dataset_dir, LORA))


def test_what_replaces_an_embedding_leaves_none_of_its_weights(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    for adapt in (LORA, FULL):
        (job,) = jobs_of(dataset_dir, adapt)
        learn_object(pipe, [job], adapt.applied_to(QUICK), silent, adapt)
        kept = {path.name for path in job.folder.glob("*.safetensors")}
        assert kept == {ADAPTATIONS[adapt.adapt], "learned_embeds.safetensors"}


# Steps 1 and 2


@pytest.fixture
def run(tiny_pipeline_dir: Path, dataset_dir: Path) -> Any:
    """Run step 1 or 2 on a dataset of three objects: fish and albatross."""
    bank = json.loads((dataset_dir / "dataset.json").read_text())
    bank["prompt_dataset"] = [
        {"type": "NM_embedding", "category": name, "D_good_dir": name, "path": name}
        for name in ("fish", "albatross")
    ]
    (dataset_dir / "dataset.json").write_text(json.dumps(bank))
    where = ("--dataset_dir", str(dataset_dir), "--precision", "float32")
    model = ("--diffusion_model", str(tiny_pipeline_dir), "--num_inference_steps", "2")

    def start(step: Any, *options: str) -> int:
        return int(step.main([*where, *model, *options]))

    return start


def images(dataset_dir: Path) -> dict[str, list[bytes]]:
    """The samples of every object, image and heatmap."""
    bank = load_prompt_bank(dataset_dir)
    places = {entry.category: EntryFolder(bank.root, entry) for entry in bank.entries}
    return {
        name: [
            place.image_path(index, "png").read_bytes() + place.heatmap_path(index).read_bytes()
            for index in place.indices()
        ]
        for name, place in places.items()
    }


def test_objects_with_different_adaptations_in_one_dataset(
    run: Any, dataset_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ("--inversion_steps", "1", "--adapt_steps", "2", "--inversion_train_bs", "1")
    rates = ("--adapt_lr", "0.01", "--lora_rank", "2", "--sheet_samples", "1")
    one, two = image_mask_inversion, diffuse_img_attention
    assert run(one, *quick, *rates, "--adapt", "lora", "--categories", "fish") == 0
    assert "--adapt lora: 0 MB on disk beside each embedding" in capsys.readouterr().out
    assert run(one, *quick, *rates, "--adapt", "full", "--categories", "albatross") == 0

    drawing = ("--image_per_entry", "2", "--image_format", "png", "--no_sheet")
    assert run(two, *drawing) == 0
    together = images(dataset_dir)
    for name in together:  # each in a run of its own
        assert run(two, *drawing, "--overwrite", "--categories", name) == 0
    assert images(dataset_dir) == together and set(map(len, together.values())) == {2}

    fish = dataset_dir / FISH
    lora, record = fish / ADAPTATIONS["lora"], fish / "inversion.json"
    assert "adaptation" in EntryRecord.read(next(dataset_dir.glob("*/fish-*/entry.json"))).settings
    plain, tuned = record.read_text(), lora.read_bytes()
    record.unlink()  # the embedding as it would be without
    with pytest.raises(InputError, match="adaptation was [0-9a-f]{16}, now not set"):
        run(two, *drawing)
    assert run(two, *drawing, "--overwrite", "--categories", "fish") == 0
    assert images(dataset_dir)["fish"] != together["fish"], "the weights do change the images"
    record.write_text(plain)

    lora.unlink()
    with pytest.raises(InputError, match="is not there, and the embedding beside it was learned"):
        run(two, *drawing)
    lora.write_bytes(tuned)
    changed = json.loads(plain)
    changed["settings"]["diffusion_model"] = "another"
    record.write_text(json.dumps(changed))
    with pytest.raises(InputError, match="was tuned from another, and the diffusion model is now"):
        run(two, *drawing)


def test_configuration_errors() -> None:
    with pytest.raises(InputError) as raised:
        AdaptConfig(adapt="dora", adapt_steps=0, adapt_lr=0, lora_rank=0, prior_weight=-1)  # type: ignore[arg-type]
    named = [problem.split(":")[0] for problem in raised.value.problems]
    assert named == [f"--{name}" for name in asdict(LORA)]

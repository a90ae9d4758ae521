"""Step 2 on a real small pipeline: what is planned, what is written, what fails."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import FailureRecord, SampleRecord
from aligndiff.dataset.samples import discard_sample
from aligndiff.diffusion.embeddings import save_embedding
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.vectors import Embedding
from aligndiff.runner.options import RunOptions
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.generate import NO_MEMORY, NO_NUMBERS, BatchSize, synthesize
from aligndiff.synthesis.plan import EntryPlan, list_samples, plan_synthesis, prepare_folders

QUICK = {"image_per_entry": 2, "num_inference_steps": 2}


@pytest.fixture
def chosen(tiny_pipeline_dir: Path) -> ModelChoice:
    return ModelChoice("small", tiny_pipeline_dir, "command line")


@pytest.fixture
def pipe(chosen: ModelChoice) -> StableDiffusionPipeline:
    return load_pipeline(chosen, torch.device("cpu"), torch.float32)


def still(count: int = 1, category: str = "", *, status: str = "") -> None:
    """A progress bar that nobody looks at."""


def learn(root: Path, vectors: int = 1, seed: int = 0) -> None:
    rows = torch.randn(vectors, 32, generator=torch.Generator().manual_seed(seed))
    path = root / "fish" / "learned_embeddings" / "learned_embeds.safetensors"
    save_embedding(path, Embedding({"text_encoder": rows}))


def plans_for(
    root: Path, chosen: ModelChoice, config: SynthesisConfig, categories: tuple[str, ...] = ()
) -> list[EntryPlan]:
    plans = plan_synthesis(load_prompt_bank(root, categories), chosen, config, "auto")
    prepare_folders(plans, list_samples(plans), overwrite=False, whole=True)
    return plans


def test_the_config_names_every_wrong_value() -> None:
    with pytest.raises(InputError) as caught:
        SynthesisConfig(
            image_per_class=0,
            image_per_entry=0,
            batch_size=0,
            num_inference_steps=-1,
            guidance_scale=float("nan"),
            side=(60,),
            image_format="webp",  # type: ignore[arg-type]
            scheduler="euler",  # type: ignore[arg-type]
        )
    named = [problem.split(":")[0] for problem in caught.value.problems]
    assert named == [
        *("--image_per_class", "--image_per_entry", "--batch_size", "--num_inference_steps"),
        *("--scheduler", "--guidance_scale", "--side", "--image_format"),
    ]


def test_an_entry_that_has_not_been_learned_says_what_to_run(
    dataset_dir: Path, chosen: ModelChoice
) -> None:
    config = SynthesisConfig(**QUICK)
    with pytest.raises(InputError, match="no learned embedding in .*run python -m scripts.image_m"):
        plans_for(dataset_dir, chosen, config)
    sweep = dataset_dir / "fish" / "learned_embeddings" / "bg_lambda_0.2"
    sweep.mkdir(parents=True)
    zeros = Embedding({"text_encoder": torch.zeros(1, 32)})
    save_embedding(sweep / "learned_embeds.safetensors", zeros)
    with pytest.raises(InputError, match=r"a sweep \(bg_lambda_0.2\): choose one of its values"):
        plans_for(dataset_dir, chosen, config)


def test_the_plan_says_what_decides_the_pixels(dataset_dir: Path, chosen: ModelChoice) -> None:
    learn(dataset_dir, vectors=2)
    one, learned, _ = plans_for(dataset_dir, chosen, SynthesisConfig(**QUICK))
    assert one.record.prompt == "a photo of a fish"
    assert learned.record.prompt == "a photo of a <fss-token> <fss-token>_1 fish"
    assert one.record.settings.keys() < learned.record.settings.keys()
    changes: list[dict[str, Any]] = [
        {"guidance_scale": 3.0},
        {"seed": 1},
        {"side": (32,)},
        {"num_inference_steps": 3},
        {"image_format": "png"},
        {"scheduler": "dpm++"},
        {"negative_prompt": "blurry"},
    ]
    prints = {one.record.fingerprint}
    for change in changes:
        other, *_ = plans_for(dataset_dir, chosen, SynthesisConfig(**(QUICK | change)))
        prints.add(other.record.fingerprint)
    assert len(prints) == 1 + len(changes)
    assert one.record.settings["size"] == [] and "side" not in one.record.settings, "as before"
    since = {"scheduler", "negative_prompt"}
    assert not since & one.record.settings.keys(), "data sets from before these settings go on"
    same, relearned, _ = plans_for(
        dataset_dir, chosen, SynthesisConfig(**(QUICK | {"batch_size": 9, "image_per_entry": 5}))
    )
    assert same.record == one.record and relearned.record == learned.record
    learn(dataset_dir, vectors=2, seed=1)
    _, relearned, _ = plans_for(dataset_dir, chosen, SynthesisConfig(**QUICK))
    assert relearned.record.fingerprint != learned.record.fingerprint


def test_the_files_of_a_sample(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    config = SynthesisConfig(**QUICK)
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    report = synthesize(pipe, list_samples([plan]), config, still)
    assert (report.made, report.failed) == (2, ())
    folder = dataset_dir / "synthesized" / plan.entry.id
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert found == [
        "attention_masks/image_000000.png",
        "attention_masks/image_000001.png",
        "entry.json",
        "generated_images/image_000000.jpg",
        "generated_images/image_000001.jpg",
        "samples/image_000000.json",
        "samples/image_000001.json",
    ]
    heatmap = Image.open(folder / "attention_masks" / "image_000000.png")
    assert heatmap.mode == "L" and heatmap.size == (64, 64) and np.ptp(np.asarray(heatmap)) > 20
    record = SampleRecord.read(folder / "samples" / "image_000001.json")
    assert record == SampleRecord(
        index=1,
        seed=list_samples([plan])[1].seed,
        status="synthesized",
        image_format="jpg",
        fingerprint=plan.record.fingerprint,
    )
    entry = json.loads((folder / "entry.json").read_text())
    assert entry["prompt"] == "a photo of an albatross on water"
    assert entry["settings"]["num_inference_steps"] == 2


def test_a_new_image_takes_the_old_mask_away(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    config = SynthesisConfig(**QUICK)
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    plan.place.mask_path(0).parent.mkdir(parents=True)
    plan.place.mask_path(0).write_bytes(b"of another image")
    synthesize(pipe, list_samples([plan]), config, still)
    assert not plan.place.mask_path(0).exists()


def test_each_prompt_is_encoded_once_whatever_the_number_of_batches(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    learn(dataset_dir, vectors=2)
    config = SynthesisConfig(**(QUICK | {"batch_size": 1}))
    plans = plans_for(dataset_dir, chosen, config)
    calls: list[int] = []
    pipe.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    synthesize(pipe, list_samples(plans), config, still)
    assert len(calls) == 2 * len(plans), "the prompt and the empty one, for each entry"


def test_a_sample_depends_on_nothing_but_itself(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    """Neither the batch size, nor the entries before it, nor its place in the file."""
    learn(dataset_dir, vectors=2)
    config = SynthesisConfig(**(QUICK | {"image_format": "png", "image_per_entry": 3}))

    def run(categories: tuple[str, ...], batch_size: int) -> dict[str, np.ndarray]:
        one = SynthesisConfig(**{**vars(config), "batch_size": batch_size})
        plans = plans_for(dataset_dir, chosen, one, categories)
        synthesize(pipe, list_samples(plans), one, still)
        return {
            f"{plan.entry.id}/{path.parent.name}/{path.name}": np.asarray(Image.open(path)).astype(
                int
            )
            for plan in plans
            for path in plan.place.folder.glob("*/*.png")
        }

    large = run((), 4)
    bank = json.loads((dataset_dir / "dataset.json").read_text())
    bank["prompt_dataset"].reverse()
    (dataset_dir / "dataset.json").write_text(json.dumps(bank))
    small = run((), 1)
    assert large.keys() == small.keys() and len(large) == 18
    assert all(np.abs(large[name] - small[name]).max() <= 1 for name in large)
    alone = run(("albatross",), 2)
    assert all(np.abs(large[name] - alone[name]).max() <= 1 for name in alone)


def test_a_sample_made_later_is_the_very_sample_of_its_batch(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    """Byte for byte: it is drawn beside the same samples, and these are not written again."""
    config = SynthesisConfig(**(QUICK | {"image_per_entry": 5, "batch_size": 4}))
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    samples = list_samples([plan])
    synthesize(pipe, samples, config, still)

    def files() -> dict[str, tuple[bytes, int]]:
        paths = [path for path in plan.place.folder.glob("*/*") if path.is_file()]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}

    whole = files()
    lost = [samples[index] for index in (1, 3, 4)]
    for sample in lost:
        discard_sample(plan.place, sample.index)
    synthesize(pipe, lost, config, still)
    again = files()
    assert {name: data for name, (data, _) in again.items()} == {
        name: data for name, (data, _) in whole.items()
    }
    kept = [name for name in whole if again[name][1] == whole[name][1]]
    assert {Path(name).stem for name in kept} == {"image_000000", "image_000002"}


def test_a_failing_sample_is_left_out_and_the_run_goes_on(
    dataset_dir: Path,
    chosen: ModelChoice,
    pipe: StableDiffusionPipeline,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = SynthesisConfig(**(QUICK | {"image_per_entry": 5, "batch_size": 2}))
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    calls = 0

    def spoil(_unet: Any, _args: Any, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        nonlocal calls
        calls += 1
        if 4 <= calls <= 6:  # the second batch: images 2 and 3; its last row is image 3
            output[0][-1] = float("nan")
        return output

    pipe.unet.register_forward_hook(spoil)
    report = synthesize(pipe, list_samples([plan]), config, still)
    assert report.made == 4 and [sample.index for sample in report.failed] == [3]
    assert plan.place.indices() == [0, 1, 2, 4]
    assert not plan.place.image_path(3, "jpg").exists()
    noted = plan.place.failure_path(3)
    assert FailureRecord.read(noted) == FailureRecord(2, NO_NUMBERS, 3)
    assert caplog.messages == [f"failed: {plan.entry.id} image 3: {NO_NUMBERS}; noted in {noted}"]
    synthesize(pipe, list_samples([plan])[3:4], config, still)
    assert plan.place.indices() == [0, 1, 2, 3, 4]
    assert plan.place.failed_indices() == [], "it succeeded, so the failure is over"


def files(plan: EntryPlan) -> dict[str, bytes]:
    folder = plan.place.folder
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("compile", [False, True])
def test_out_of_memory_halves_the_batch_and_nothing_else_changes(
    dataset_dir: Path,
    chosen: ModelChoice,
    pipe: StableDiffusionPipeline,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    memory_for: Any,
    compile: bool,
) -> None:
    """Against a run whose batches are of that size from the start."""
    monkeypatch.setattr(pipe.unet, "compile", lambda: None)
    small = SynthesisConfig(image_per_entry=5, num_inference_steps=2, batch_size=2, compile=compile)
    (plan,) = plans_for(dataset_dir, chosen, small, ("albatross",))
    synthesize(pipe, list_samples([plan]), small, still)
    wanted = files(plan)
    shutil.rmtree(plan.place.folder)
    plans_for(dataset_dir, chosen, small, ("albatross",))
    shapes: list[int] = []
    pipe.vae.decoder.register_forward_pre_hook(lambda _vae, args: shapes.append(len(args[0])))
    memory_for(pipe.unet, 2 * 2)  # with guidance the UNet sees each image twice
    report = synthesize(pipe, list_samples([plan]), replace(small, batch_size=8), still)
    assert (report.made, report.failed) == (5, ())
    assert files(plan) == wanted
    assert shapes == [2, 2, 2 if compile else 1], "no sample is drawn twice"
    sizes = (8, 4, 2) if compile else (5, 2)
    assert caplog.messages == [
        f"note: out of memory with {size} images at once, going on with {size // 2}"
        for size in sizes[:-1]
    ]


def test_what_did_not_fit_once_is_not_tried_again_by_the_next_call(
    dataset_dir: Path,
    chosen: ModelChoice,
    pipe: StableDiffusionPipeline,
    caplog: pytest.LogCaptureFixture,
    memory_for: Any,
) -> None:
    """An actor of Ray draws unit by unit, and found out for each of them anew."""
    config = SynthesisConfig(**(QUICK | {"image_per_entry": 8, "batch_size": 4}))
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    memory_for(pipe.unet, 2 * 2)
    batch = BatchSize()
    samples = list_samples([plan])
    for unit in (samples[:4], samples[4:]):
        assert synthesize(pipe, unit, config, still, batch).failed == ()
    assert batch.images == 2
    assert len(caplog.messages) == 1


def test_an_image_that_is_too_much_for_the_memory_alone_fails_alone(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline, memory_for: Any
) -> None:
    config = SynthesisConfig(**(QUICK | {"image_per_entry": 3, "batch_size": 2}))
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    calls = itertools.count()
    # The first batch, then its first image alone; the second image's PNDM begins with call 2.
    memory_for(pipe.unet, lambda: 0 if next(calls) < 2 else 2)
    report = synthesize(pipe, list_samples([plan]), config, still)
    assert report.made == 2 and [sample.index for sample in report.failed] == [0]
    assert plan.place.indices() == [1, 2] and plan.place.failed_indices() == [0]
    assert "out of memory with this image alone" in plan.place.failure_path(0).read_text()


def test_what_is_advised_when_the_memory_is_short_are_options() -> None:
    """It once named options by their earlier names."""
    names = {item.name for config in (SynthesisConfig, RunOptions) for item in fields(config)}
    advised = re.findall(r"--(\w+)", NO_MEMORY + NO_NUMBERS)
    assert advised and names.issuperset(advised)


def test_an_error_that_is_no_lack_of_memory_ends_the_run(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    def burst(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    config = SynthesisConfig(**QUICK)
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    pipe.unet.register_forward_hook(burst)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        synthesize(pipe, list_samples([plan]), config, still)
    assert plan.place.failed_indices() == []


@pytest.mark.parametrize("batch_size", [1, 3])
def test_samples_are_written_whole_when_drawing_is_broken_off(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline, batch_size: int
) -> None:
    """Ctrl-C in the third batch: the batches before it are there, nothing of the third is."""
    config = SynthesisConfig(**(QUICK | {"image_per_entry": 9, "batch_size": batch_size}))
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    calls = 0

    def interrupt(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:  # PNDM calls the UNet three times for two steps
            raise KeyboardInterrupt

    pipe.unet.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthesize(pipe, list_samples([plan]), config, still)
    samples = list_samples([plan])
    assert [sample.is_made for sample in samples] == [
        index < 2 * batch_size for index in range(len(samples))
    ]
    files = [path for path in plan.place.folder.rglob("*") if path.is_file()]
    assert len(files) == 3 * 2 * batch_size + 1, "image, heatmap and record each; entry.json"


def test_an_error_of_writing_ends_the_run(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    config = SynthesisConfig(**(QUICK | {"image_per_entry": 4, "batch_size": 1}))
    (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
    in_the_way = plan.place.heatmap_path(1)
    (in_the_way / "folder").mkdir(parents=True)
    with pytest.raises(OSError, match="image_000001"):
        synthesize(pipe, list_samples([plan]), config, still)
    assert list_samples([plan])[0].is_made
    assert not plan.place.record_path(1).exists(), "the record comes last"


def test_another_scheduler_draws_other_images(
    dataset_dir: Path, chosen: ModelChoice, pipe: StableDiffusionPipeline
) -> None:
    own, images = pipe.scheduler, []
    for name in ("default", "dpm++"):
        config = SynthesisConfig(**QUICK, scheduler=name)  # type: ignore[arg-type]
        (plan,) = plans_for(dataset_dir, chosen, config, ("albatross",))
        synthesize(pipe, list_samples([plan]), config, still)
        images.append(np.asarray(Image.open(plan.place.image_path(0, "jpg"))))
    assert not np.array_equal(*images) and pipe.scheduler is own


def test_compiling_fills_the_last_batch_and_changes_no_sample(
    dataset_dir: Path,
    chosen: ModelChoice,
    pipe: StableDiffusionPipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What compiling itself changes is tested with `compiled`; here it is left out."""
    monkeypatch.setattr(pipe.unet, "compile", lambda: None)
    shapes: list[int] = []
    pipe.vae.decoder.register_forward_pre_hook(lambda _vae, args: shapes.append(len(args[0])))
    config = SynthesisConfig(
        **(QUICK | {"image_per_entry": 3, "batch_size": 2, "image_format": "png"})
    )

    def run(compile: bool) -> list[np.ndarray]:
        one = SynthesisConfig(**{**vars(config), "compile": compile})
        (plan,) = plans_for(dataset_dir, chosen, one, ("albatross",))
        synthesize(pipe, list_samples([plan]), one, still)
        return [np.asarray(Image.open(plan.place.image_path(i, "png"))) for i in range(3)]

    plain, filled = run(False), run(True)
    assert shapes == [2, 1, 2, 2]
    for one, other in zip(plain, filled, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


def test_the_stage_can_be_planned_without_torch() -> None:
    code = "import sys, aligndiff.synthesis.generate, scripts.diffuse_img_attention"
    check = "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", f"{code}; {check}"]).returncode == 0

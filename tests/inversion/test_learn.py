"""Step 1: the loss, the latents it is taken on, and the training run."""

from __future__ import annotations

import errno
import itertools
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline

from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.layout import embedding_file
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import FailureRecord, read_record
from aligndiff.dataset.support import load_support
from aligndiff.diffusion.embeddings import load_embedding
from aligndiff.diffusion.prediction import NoiseSchedule
from aligndiff.diffusion.pretrained import load_pipeline
from aligndiff.diffusion.tokens import initializer_id
from aligndiff.diffusion.vectors import add_placeholders, initial_vectors
from aligndiff.inversion.config import InversionConfig, SheetConfig
from aligndiff.inversion.latents import (
    SupportLatents,
    encode_support,
    training_batches,
)
from aligndiff.inversion.learn import NO_MEMORY, learn_object, learn_vectors
from aligndiff.inversion.loss import normalized_masked_loss
from aligndiff.inversion.plan import (
    InversionJob,
    check_jobs,
    copy_embedding,
    mark_outdated,
    plan_jobs,
)
from aligndiff.inversion.sheet import draw_missing
from aligndiff.inversion.templates import training_texts

PROMPT = "a photo of a <fss-token> fish"
TEXTS = training_texts("fish", vectors=1)
SHORT = InversionConfig(inversion_steps=3, inversion_train_bs=2, gradient_accumulation=2)


class Interrupt:
    """A hook that is like Ctrl-C."""

    on = True

    def __call__(self, *_: Any) -> None:
        if self.on:
            raise KeyboardInterrupt


def copy(job: InversionJob) -> None:
    source = job.adoptable()
    assert source is not None
    copy_embedding(source, job.folder)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    return load_pipeline(ModelChoice(folder.name, folder, "test"), "cpu", dtype)


@pytest.fixture
def pipe(tiny_pipeline_dir: Path) -> StableDiffusionPipeline:
    return load(tiny_pipeline_dir)


@pytest.fixture
def support(pipe: StableDiffusionPipeline, dataset_template: Path) -> SupportLatents:
    return encode_support(pipe, load_support(dataset_template / "fish"), 64)


def silent(count: int = 1, category: str = "", *, status: str = "") -> None:
    pass


def learn(pipe: StableDiffusionPipeline, support: SupportLatents, config: InversionConfig) -> Any:
    generator = torch.Generator().manual_seed(5)
    embedding, losses = learn_vectors(pipe, TEXTS, support, config, 0.6, generator, silent)
    return embedding.vectors["text_encoder"], losses


def vectors_of(job: InversionJob) -> torch.Tensor:
    return load_embedding(job.embedding).vectors["text_encoder"]


def jobs_of(dataset_dir: Path, config: InversionConfig, model: str = "m") -> list[InversionJob]:
    bank = load_prompt_bank(dataset_dir)
    return plan_jobs(bank.root, bank.objects[0], config.recipe(model, "auto"), config.bg_lambda)


# Training


def test_vectors_equal_training_the_whole_table(
    pipe: StableDiffusionPipeline, support: SupportLatents, tiny_pipeline_dir: Path
) -> None:
    """The same run the usual way: the whole table learns, the other rows are put back each step."""
    rows, losses = learn(pipe, support, SHORT)

    plain = load(tiny_pipeline_dir)
    (token,) = add_placeholders(plain, 1)["text_encoder"]
    plain.text_encoder.resize_token_embeddings(len(plain.tokenizer), mean_resizing=False)
    table = plain.text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        table[token] = table[initializer_id(plain.tokenizer, "good")]
    start = table.detach().clone()
    table.requires_grad_(True)
    optimizer = torch.optim.AdamW([table], lr=5e-4, weight_decay=1e-2)
    schedule = DDPMScheduler.from_config(plain.scheduler.config)
    generator = torch.Generator().manual_seed(5)
    ids = plain.tokenizer(PROMPT, padding="max_length", return_tensors="pt").input_ids
    levels = NoiseSchedule(schedule, flow=False)
    batches = list(training_batches(support, levels, 6, 2, generator))
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 5e-4 * (1 + math.cos(math.pi * step / 3)) / 2
        total = 0.0
        for batch in batches[2 * step : 2 * step + 2]:
            states = plain.text_encoder(ids)[0].expand(2, -1, -1)
            answer = plain.unet(batch.noisy, batch.timesteps, encoder_hidden_states=states).sample
            sides = batch.foreground, batch.background
            loss = normalized_masked_loss(answer, batch.target, *sides, 0.6) / 2
            loss.backward()
            total += loss.item()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            table[torch.arange(len(table)) != token] = start[torch.arange(len(table)) != token]
        assert losses[step] == pytest.approx(total, rel=1e-4)
    assert torch.allclose(rows[0], table[token], atol=2e-6)


def test_only_the_vectors_learn(pipe: StableDiffusionPipeline, support: SupportLatents) -> None:
    start = pipe.text_encoder.get_input_embeddings().weight.clone()
    rows, losses = learn(pipe, support, SHORT)
    table = pipe.text_encoder.get_input_embeddings()
    assert rows.dtype == torch.float32 and rows.shape == (1, 32) and not rows.requires_grad
    assert not torch.equal(rows[0], start[initializer_id(pipe.tokenizer, "good")])
    assert torch.equal(table.weight, start) and not pipe.text_encoder._forward_hooks
    for network in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
        assert not network.training


def test_the_prompt_is_encoded_once_for_all_passes_of_a_step(
    pipe: StableDiffusionPipeline, support: SupportLatents
) -> None:
    calls = {"text": 0, "unet": 0}

    def count(name: str) -> Any:
        return lambda *_: calls.update({name: calls[name] + 1})

    handles = [
        pipe.text_encoder.register_forward_hook(count("text")),
        pipe.unet.register_forward_hook(count("unet")),
    ]
    learn(pipe, support, replace(SHORT, inversion_steps=2, gradient_accumulation=3))
    for handle in handles:
        handle.remove()
    assert calls == {"text": 2, "unet": 6}


def test_runs_are_alike_and_the_seed_matters(
    pipe: StableDiffusionPipeline, support: SupportLatents
) -> None:
    config = replace(SHORT, inversion_steps=2)
    first, again = learn(pipe, support, config), learn(pipe, support, config)
    assert torch.equal(first[0], again[0]) and first[1] == again[1]
    other, _ = learn_vectors(pipe, TEXTS, support, config, 0.6, torch.Generator(), silent)
    assert not torch.equal(first[0], other.vectors["text_encoder"])


def test_checkpointing_changes_no_result(
    pipe: StableDiffusionPipeline, support: SupportLatents
) -> None:
    config = replace(SHORT, inversion_steps=2)
    plain, _ = learn(pipe, support, config)
    saved, _ = learn(pipe, support, replace(config, gradient_checkpointing=True))
    assert torch.allclose(plain, saved, atol=1e-6)
    assert not pipe.unet.is_gradient_checkpointing


@pytest.mark.parametrize("fits_until", [0, 1, 3])
def test_out_of_memory_takes_fewer_views_at_once_and_the_same_steps(
    pipe: StableDiffusionPipeline,
    support: SupportLatents,
    caplog: pytest.LogCaptureFixture,
    memory_for: Any,
    fits_until: int,
) -> None:
    """Also when it comes in the middle of a step, whose first pass has been taken already."""
    config = replace(SHORT, inversion_train_bs=3)
    rows, losses = learn(pipe, support, config)
    calls, sizes = itertools.count(), []
    pipe.unet.register_forward_hook(lambda _unet, args, _out: sizes.append(len(args[0])))
    memory_for(pipe.unet, lambda: 3 if next(calls) < fits_until else 1)
    fewer, others = learn(pipe, support, config)
    assert sizes.count(3) == fits_until and sizes[fits_until:] == [1] * (len(sizes) - fits_until)
    steps_before = fits_until // 2
    assert len(sizes) == fits_until + 6 * (3 - steps_before), "only the step that failed is retaken"
    assert torch.allclose(rows, fewer, atol=1e-6) and not torch.equal(rows, start_of(pipe))
    assert others == pytest.approx(losses, rel=1e-5)
    assert caplog.messages == ["note: out of memory with 3 views at once, going on with 1"]


def start_of(pipe: StableDiffusionPipeline) -> torch.Tensor:
    return initial_vectors(pipe, SHORT.initializer, SHORT.vectors).vectors["text_encoder"]


def test_an_object_that_is_too_much_for_the_memory_fails_and_is_tried_again(
    pipe: StableDiffusionPipeline, dataset_dir: Path, memory_for: Any
) -> None:
    config = replace(SHORT, inversion_steps=1, bg_lambda=(0.2, 1.0))
    first, second = jobs = jobs_of(dataset_dir, config)
    calls = itertools.count()
    memory_for(pipe.unet, lambda: 0 if next(calls) < 2 else 2)  # two views, then one alone
    failed = learn_object(pipe, jobs, config, silent)
    assert failed == {first.folder: f"{NO_MEMORY}; noted in {first.failure}"}
    assert FailureRecord.read(first.failure) == FailureRecord(1, NO_MEMORY)
    assert [path.name for path in first.folder.iterdir()] == ["failure.json"]
    assert second.is_learned and not second.failure.exists()
    assert learn_object(pipe, jobs, config, silent) == {}
    assert first.is_learned and not first.failure.exists()


def test_what_is_advised_when_the_memory_is_short_are_options() -> None:
    """It once named --resolution, which is --side now."""
    advised = re.findall(r"--(\w+)", NO_MEMORY)
    assert advised and {item.name for item in fields(InversionConfig)}.issuperset(advised)


def test_the_record_says_resolution_and_the_option_side() -> None:
    """Embeddings from before the option was renamed stay learned."""
    recipe = InversionConfig(side=64).recipe("m", "auto")
    assert recipe["resolution"] == 64 and "side" not in recipe


def test_samples_that_are_too_much_for_the_memory_are_drawn_by_the_next_run(
    pipe: StableDiffusionPipeline, dataset_dir: Path, memory_for: Any
) -> None:
    config, sheet = replace(SHORT, inversion_steps=1), SheetConfig(1, 1, 1.0)
    (job,) = jobs_of(dataset_dir, config)
    learn_object(pipe, [job], config, silent)
    hook = memory_for(pipe.unet, 0)
    failed = draw_missing(pipe, [job], sheet)
    assert "out of memory while drawing" in failed[job.folder]
    assert job.is_learned and job.failure.exists()
    hook.remove()
    assert draw_missing(pipe, [job], sheet) == {} and not job.failure.exists()


def test_bfloat16_weights_float32_vectors(tiny_pipeline_dir: Path, dataset_template: Path) -> None:
    pipe = load(tiny_pipeline_dir, torch.bfloat16)
    support = encode_support(pipe, load_support(dataset_template / "fish"), 64)
    rows, losses = learn(pipe, support, replace(SHORT, inversion_steps=1))
    assert rows.dtype == torch.float32 and math.isfinite(losses[0])


@pytest.mark.parametrize("word", ["albatross", "zebra", "good dog"])
def test_initializer_must_be_one_token(pipe: StableDiffusionPipeline, word: str) -> None:
    with pytest.raises(InputError, match=f"--initializer {word}: must be one token"):
        initializer_id(pipe.tokenizer, word)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"inversion_steps": 0}, "--inversion_steps: must be 1 to 1000000, is 0"),
        ({"inversion_lr": math.nan}, "--inversion_lr: must be above 0, at most 10, is nan"),
        ({"bg_lambda": (-0.1,)}, "--bg_lambda: must be 0 to 1000, is -0.1"),
        ({"bg_lambda": ()}, "--bg_lambda: needs one value or more"),
        ({"bg_lambda": (0.6, 0.6)}, "--bg_lambda: the same value is there twice (to six digits)"),
        (
            {"bg_lambda": (0.60000001, 0.6)},
            "--bg_lambda: the same value is there twice (to six digits)",
        ),
        ({"vectors": 17}, "--vectors: must be 1 to 16, is 17"),
        ({"side": 100}, "--side: must be a multiple of 8 from 64 to 4096 px, is 100"),
    ],
)
def test_configuration_errors(change: dict[str, Any], error: str) -> None:
    with pytest.raises(InputError) as raised:
        InversionConfig(**change)
    assert raised.value.problems == (error,)


# What lies on disk


@pytest.mark.parametrize("vectors", [1, 2])
def test_diffusers_loads_the_embedding(
    pipe: StableDiffusionPipeline, tiny_pipeline_dir: Path, dataset_dir: Path, vectors: int
) -> None:
    config = replace(SHORT, inversion_steps=1, vectors=vectors)
    (job,) = jobs_of(dataset_dir, config)
    assert learn_object(pipe, [job], config, silent) == {}
    rows = vectors_of(job)
    assert rows.shape == (vectors, 32) and job.is_learned

    plain = load(tiny_pipeline_dir)
    plain.load_textual_inversion(str(job.embedding))
    tokens = ["<fss-fish>", "<fss-fish>_1"][:vectors]
    ids = plain.tokenizer.convert_tokens_to_ids(tokens)
    assert torch.equal(plain.text_encoder.get_input_embeddings().weight[ids], rows)
    prompt = plain.maybe_convert_prompt("a photo of a <fss-fish> fish", plain.tokenizer)
    assert prompt == f"a photo of a {' '.join(tokens)} fish"


def test_record_tells_settings_and_loss(pipe: StableDiffusionPipeline, dataset_dir: Path) -> None:
    (job,) = jobs_of(dataset_dir, SHORT)
    statuses = []

    def advance(count: int = 1, category: str = "", *, status: str = "") -> None:
        assert (count, category) == (1, "fish")
        statuses.append(status)

    learn_object(pipe, [job], SHORT, advance)
    record = read_record(job.folder)
    assert record is not None and len(record.loss) == 3 == len(statuses)
    assert statuses[-1] == f"loss {sum(record.loss) / 3:.4f}"
    assert record.ran_on == "cpu float32"
    expected = {"bg_lambda": 0.6, "seed": 0, "initializer": "good", "prompt": PROMPT}
    assert expected.items() <= record.settings.items()
    assert (job.folder / "loss.png").exists()
    bank = load_prompt_bank(dataset_dir)
    assert job.embedding == embedding_file(bank.root, bank.objects[0])
    assert (job.folder / "inversion.json").exists()


def test_sweep_encodes_once_and_is_adopted(
    pipe: StableDiffusionPipeline, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = pipe.vae.encode
    monkeypatch.setattr(pipe.vae, "encode", lambda x: encoded.append(len(x)) or encode(x))
    config = replace(SHORT, inversion_steps=1, bg_lambda=(0.2, 1.0))
    sweep = jobs_of(dataset_dir, config)
    assert learn_object(pipe, sweep, config, silent) == {}
    assert sum(encoded) == 48  # eight views of three pairs, and their flips
    assert [job.folder.name for job in sweep] == ["bg_lambda_0.2", "bg_lambda_1"]
    rows = [vectors_of(job) for job in sweep]
    assert not torch.equal(*rows)

    (one,) = jobs_of(dataset_dir, replace(config, bg_lambda=(1.0,)))
    copy(one)
    assert one.is_learned and torch.equal(vectors_of(one), rows[1])
    (other,) = jobs_of(dataset_dir, replace(config, bg_lambda=(0.2,)))
    (sweep[0].folder / "loss.png").unlink()  # by somebody who needed the room
    with pytest.raises(InputError, match="bg_lambda was 1.0, now 0.2; --overwrite"):
        check_jobs([other])
    copy(other)
    assert torch.equal(vectors_of(other), rows[0])
    assert not (other.folder / "loss.png").exists(), "the plot of the one before would be a lie"
    assert other.adoptable() is None, "it is there"
    mark_outdated(other)
    assert other.adoptable() is None, "it is to be learned again, not copied"


def test_what_is_to_be_learned_again_stays_until_it_is(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    """Neither a failure nor an interruption costs an embedding; the next run knows what is left."""
    (job,) = jobs_of(dataset_dir, SHORT)
    mark_outdated(job)
    assert not (job.folder / "outdated.json").exists(), "there is nothing yet"
    learn_object(pipe, [job], SHORT, silent)
    before = job.embedding.read_bytes()
    (other,) = jobs_of(dataset_dir, replace(SHORT, seed=1))
    mark_outdated(other)
    assert job.embedding.read_bytes() == before and not other.is_learned
    check_jobs([other])  # no --overwrite is asked for a second time
    pipe.unet.register_forward_pre_hook(stop := Interrupt())
    with pytest.raises(KeyboardInterrupt):
        learn_object(pipe, [other], replace(SHORT, seed=1), silent)
    assert job.embedding.read_bytes() == before and other.is_outdated
    stop.on = False
    learn_object(pipe, [other], replace(SHORT, seed=1), silent)
    assert other.is_learned and job.embedding.read_bytes() != before
    names = {path.name for path in job.folder.iterdir()}
    assert names == {"learned_embeds.safetensors", "inversion.json", "loss.png"}


def test_a_full_disk_leaves_the_earlier_embedding(
    pipe: StableDiffusionPipeline, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = jobs_of(dataset_dir, SHORT)
    learn_object(pipe, [job], SHORT, silent)
    before = {path.name: path.read_bytes() for path in job.folder.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (other,) = jobs_of(dataset_dir, replace(SHORT, seed=1))
    mark_outdated(other)
    monkeypatch.setattr("aligndiff.diffusion.embeddings.save_embedding", full)
    with pytest.raises(OSError, match="No space left"):
        learn_object(pipe, [other], replace(SHORT, seed=1), silent)
    left = {path.name: path.read_bytes() for path in job.folder.iterdir()}
    assert left.pop("outdated.json") and left == before
    assert other.is_outdated


def test_a_mark_is_for_the_settings_that_were_asked_for(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    (job,) = jobs_of(dataset_dir, SHORT)
    learn_object(pipe, [job], SHORT, silent)
    (other,) = jobs_of(dataset_dir, replace(SHORT, seed=1))
    mark_outdated(other)
    assert job.is_learned, "who wants the earlier settings back has them"
    (third,) = jobs_of(dataset_dir, replace(SHORT, seed=2))
    with pytest.raises(InputError, match="seed was 0, now 2"):
        check_jobs([third])


def test_what_is_to_be_learned_again_is_not_copied(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    """Its copy would lie where step 2 looks, and nothing would tell that it is outdated."""
    config = replace(SHORT, inversion_steps=1, bg_lambda=(0.2, 1.0))
    sweep = jobs_of(dataset_dir, config)
    learn_object(pipe, sweep, config, silent)
    (one,) = jobs_of(dataset_dir, replace(config, bg_lambda=(1.0,)))
    assert one.adoptable() == sweep[1].folder
    mark_outdated(sweep[1])
    assert one.adoptable() is None


def test_other_settings_are_named(pipe: StableDiffusionPipeline, dataset_dir: Path) -> None:
    config = replace(SHORT, inversion_steps=1)
    (job,) = jobs_of(dataset_dir, config)
    learn_object(pipe, [job], config, silent)
    (dataset_dir / "fish" / "3.png").unlink()
    (dataset_dir / "fish" / "3.jpg").unlink()
    (other,) = jobs_of(dataset_dir, replace(config, seed=1), model="another")
    with pytest.raises(InputError) as raised:
        check_jobs([other])
    assert raised.value.problems == (
        f"{job.embedding}: diffusion_model was m, now another, seed was 0, now 1, "
        "the support pairs changed; --overwrite learns it again",
    )
    (job.folder / "inversion.json").unlink()
    with pytest.raises(InputError, match="there is no inversion.json to tell how it was learned"):
        check_jobs([other])


def test_a_recipe_that_a_record_does_not_name_is_told_as_the_methods(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    """It read "augment was None", of embeddings from before there was a choice."""
    config = replace(SHORT, inversion_steps=1, augment=("flip",))
    (job,) = jobs_of(dataset_dir, config)
    learn_object(pipe, [job], config, silent)
    (other,) = jobs_of(dataset_dir, replace(config, augment=("scale", "flip")))
    with pytest.raises(InputError, match="augment was flip, now flip scale; --overwrite learns"):
        check_jobs([other])
    (other,) = jobs_of(dataset_dir, replace(config, timestep_range=(250, 750), patience=8))
    expected = "patience was not set, now 8, timestep_range was not set, now 250 750; --overwrite"
    with pytest.raises(InputError, match=expected):  # it read "timestep_range was , now 250 750"
        check_jobs([other])


def test_nan_is_an_error_and_the_next_goes_on(
    pipe: StableDiffusionPipeline, dataset_dir: Path
) -> None:
    config = replace(SHORT, inversion_steps=1, bg_lambda=(0.2, 1.0))
    first, second = jobs_of(dataset_dir, config)
    forward, calls = pipe.unet.forward, []

    def broken(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        (prediction,) = forward(*args, **kwargs)
        return (prediction * (math.nan if len(calls) <= 2 else 1),)

    pipe.unet.forward = broken
    failed = learn_object(pipe, [first, second], config, silent)
    assert list(failed) == [first.folder]
    assert "the loss is not a number any more, by step 1 of 1" in failed[first.folder]
    assert FailureRecord.read(first.failure).reason in failed[first.folder]
    assert not first.embedding.exists() and second.is_learned


def test_broken_record_is_one_line(dataset_dir: Path, pipe: StableDiffusionPipeline) -> None:
    (job,) = jobs_of(dataset_dir, SHORT)
    job.folder.mkdir()
    job.embedding.write_bytes(b"")
    (job.folder / "inversion.json").write_text("{}")
    assert not job.is_learned
    with pytest.raises(AlignDiffError, match="inversion.json: is no inversion record"):
        check_jobs([job])

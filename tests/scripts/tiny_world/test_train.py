"""Every part of the tiny world's models trains, resumes exactly, and loads where it is used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel

from aligndiff.core.errors import InputError
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.segmenters.trained.small import load_small
from aligndiff.training.recipe import warmup_cosine
from scripts.tiny_world.measure.judge import load_judge
from scripts.tiny_world.train.__main__ import main
from scripts.tiny_world.train.run import Run
from scripts.tiny_world.train.ssp import INPUT_SIDE, base_scene, draw_identity, recoloured
from scripts.tiny_world.train.text_to_latents import (
    TextToLatents,
    make_fast,
    new_noise_schedule,
    new_text_encoder,
    shrink_residual_stream,
    token_ids,
)
from scripts.tiny_world.train.unet import (
    DOTTED_WEIGHT,
    sample_weights,
    scene_shares,
    spread_timesteps,
)
from scripts.tiny_world.world.captions import new_tokenizer
from scripts.tiny_world.world.example import EXAMPLES, resembles_an_example
from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import random_scene
from scripts.tiny_world.world.shapes import RARE

SEEN = ("running_mean", "running_var", "num_batches_tracked")


def train(part: str, folder: Path, steps: int, *more: str) -> None:
    words = [part, "--work_dir", str(folder), "--steps", str(steps), "--scenes", "3"]
    options = ["--batch_size", "2", "--workers", "1", "--device", "cpu", "--previews", "0"]
    assert main([*words, *options, *more]) == 0


def weights(folder: Path, part: str) -> list[torch.Tensor]:
    state = torch.load(folder / part / "checkpoint.pt", weights_only=True)
    found = state["network" if part in ("ssp", "network") else "ema"]
    # Not what batch normalisation has seen and counted: that changes at once.
    return [value.float() for name, value in found.items() if not name.endswith(SEEN)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of every part, in the order of the recipe."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny_world")
    for part in ("vae", "unet", "ssp", "judge", "network"):
        train(part, folder, 1)
    return folder


def test_published_models_load_and_work(trained: Path) -> None:
    output = trained / "published"
    assert main(["publish", "--work_dir", str(trained), "--output_dir", str(output)]) == 0
    pipe = StableDiffusionPipeline.from_pretrained(
        output / "tiny", dtype=torch.float32, safety_checker=None
    )
    assert not any(str(trained) in path.read_text() for path in output.rglob("*.json"))
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a photo of a fish", num_inference_steps=1, output_type="np").images[0]
    assert image.shape == (128, 128, 3)
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert load_ssp(output / "tiny_ssp.safetensors").input_side == INPUT_SIDE
    assert (output / "tiny_ssp.safetensors").stat().st_size < 5_000_000
    load_judge(output / "tiny_judge.safetensors")
    load_small(output / "tiny_network.safetensors")


def test_publish_needs_every_part_and_writes_nothing_without(trained: Path, tmp_path: Path) -> None:
    for part in ("unet/pipeline", "ssp"):
        shutil.copytree(trained / part, tmp_path / part)
    output = tmp_path / "published"
    with pytest.raises(InputError, match=r"tiny_judge.*not there yet; train the part judge before"):
        main(["publish", "--work_dir", str(tmp_path), "--output_dir", str(output)])
    assert not output.exists()


@pytest.mark.parametrize("part", ["vae", "ssp", "judge", "network"])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    trained: Path, tmp_path: Path, part: str
) -> None:
    # During the warm-up the learning rate does not depend on the number of steps.
    train(part, tmp_path / "whole", 2)
    shutil.copytree(trained / part, tmp_path / "resumed" / part)
    train(part, tmp_path / "resumed", 2)
    pairs = zip(weights(tmp_path / "whole", part), weights(tmp_path / "resumed", part), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("part", ["vae", "unet", "ssp", "judge", "network"])
def test_a_part_starts_from_published_weights(trained: Path, tmp_path: Path, part: str) -> None:
    """At the first step of the warm-up the weights have hardly moved from where they began."""
    published = tmp_path / "published"
    assert main(["publish", "--work_dir", str(trained), "--output_dir", str(published)]) == 0
    train(part, tmp_path, 1, "--start_from", str(published))
    begun, ended = weights(trained, part), weights(tmp_path, part)
    assert all(torch.allclose(a, b, atol=2e-3) for a, b in zip(begun, ended, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(begun, ended, strict=True))


def test_a_wrong_start_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no folder tiny; name what publish has written"):
        train("unet", tmp_path / "work", 1, "--start_from", str(tmp_path))
    assert not (tmp_path / "work").exists()


def test_segmenter_never_sees_the_example_objects_not_even_beside_others() -> None:
    assert not {draw_identity(seed)[0] for seed in range(30)} & set(EXAMPLES)
    rng = np.random.default_rng(0)
    scenes = [base_scene(rng, "car", Look("plain", "red")) for _ in range(300)]
    assert {len(scene.things) for scene in scenes} == {1, 2, 3}
    things = [thing for scene in scenes for thing in scene.things]
    assert not {thing.category for thing in things} & {*EXAMPLES, RARE}
    assert not any(resembles_an_example(thing.look) for thing in things)


def test_shrinking_the_residual_stream_changes_no_output() -> None:
    torch.manual_seed(0)
    tokenizer = new_tokenizer()
    encoder = new_text_encoder(tokenizer).eval()
    ids = tokenizer(["a photo of a fish"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        before = encoder(ids).last_hidden_state
        shrink_residual_stream(encoder, 0.1)
        after = encoder(ids).last_hidden_state
    assert encoder.get_input_embeddings().weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.allclose(before, after, atol=1e-4)
    assert CLIPTextModel(encoder.config).final_layer_norm.eps == pytest.approx(1e-7)


def test_timesteps_of_a_batch_are_spread_over_the_schedule() -> None:
    torch.manual_seed(0)
    steps = spread_timesteps(new_noise_schedule(), 8)
    assert sorted((steps // 125).tolist()) == list(range(8))
    assert steps.tolist() != sorted(steps.tolist())


def test_rate_falls_with_the_steps_or_with_the_minutes_whichever_are_spent_first(
    tmp_path: Path,
) -> None:
    by_steps = Run(tmp_path, steps=1000, minutes=float("inf"))
    assert by_steps.cosine_rate(1000, 100) == pytest.approx(0.02)
    assert by_steps.cosine_rate(100, 100) == pytest.approx(1.0)
    by_minutes = Run(tmp_path, steps=1000, minutes=10)
    by_minutes.started -= 9 * 60  # nine of the ten minutes are over
    assert by_minutes.cosine_rate(100, 100) == pytest.approx(
        warmup_cosine(900, 1000, 100), rel=0.02
    )
    assert by_minutes.cosine_rate(950, 100) == pytest.approx(warmup_cosine(950, 1000, 100))


def test_sample_weights_by_hand() -> None:
    schedule = new_noise_schedule()
    step = torch.tensor([0, 500, 999])
    signal = schedule.alphas_cumprod[step].double().numpy()
    snr = signal / (1 - signal)
    expected = np.minimum(snr, 5) / (snr + 1) + 0.5
    assert sample_weights(schedule, step).numpy() == pytest.approx(expected, rel=1e-4)


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [warmup_cosine(step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.02)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_fast_training_computes_the_same_and_keeps_the_names() -> None:
    torch.manual_seed(0)
    model = TextToLatents(new_tokenizer()).eval()
    names, noisy = list(model.state_dict()), torch.randn(2, 8, 16, 16)
    times = torch.tensor([10, 900])
    ids = token_ids(model.tokenizer, ["a red fish", "a house on snow"])
    with torch.no_grad():
        before = model(noisy, times, ids)
        make_fast(model, torch.device("cpu"), compiled=False)
        after = model(noisy, times, ids)
    assert torch.allclose(before, after, atol=1e-4)
    assert list(model.state_dict()) == names


def test_dotted_scenes_are_drawn_more_often() -> None:
    scenes = [random_scene(i) for i in range(60)]
    shares = scene_shares(scenes)
    dotted = [scene.things[0].look.texture == "dotted" for scene in scenes]
    assert shares.sum() == pytest.approx(1) and 0 < sum(dotted) < 60
    assert shares[dotted].min() == pytest.approx(DOTTED_WEIGHT * shares[np.invert(dotted)].max())


def test_an_episode_is_recoloured_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    images[1] = np.rot90(images[0])
    changed = recoloured(images, rng)
    assert changed.dtype == np.uint8 and not np.array_equal(changed, images)
    assert np.array_equal(changed[1], np.rot90(changed[0]))

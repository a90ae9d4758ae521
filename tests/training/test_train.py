"""The trainer's core on a random segmenter, 8 wide, and drawn squares of 48 px."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.segmenters.metrics import Overlap, Scores
from aligndiff.segmenters.ssp.backbone import random_weights
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.segmenters.ssp.network import SSP, SSPConfig
from aligndiff.training.episodes import PairEpisodes
from aligndiff.training.log import read_log, trained_steps, validations
from aligndiff.training.pairs import ClassPairs, Pair, fixed_episodes
from aligndiff.training.recipe import FINETUNE, SCRATCH
from aligndiff.training.train import TrainingRun, train, validate

SIDE = 48
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def square(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A red square on noise."""
    rng = np.random.default_rng(seed)
    image, mask = rng.integers(0, 120, (56, 48, 3), dtype=np.uint8), np.zeros((56, 48), np.uint8)
    top, left = rng.integers(4, 28, 2)
    image[top : top + 18, left : left + 18] = (230, 40, 40)
    mask[top : top + 18, left : left + 18] = 1
    return image, mask


PAIRS = tuple(Pair("square", f"{i}", lambda i=i: square(i)) for i in range(8))
SOURCE = PairEpisodes([ClassPairs("square", PAIRS[:3], PAIRS[3:])], 1, SIDE, 0.5, 1.2, seed=0)


def new_network() -> SSP:
    return random_weights(SSPConfig(width=8, blocks=(1, 1, 2)), seed=3).network


def a_run(folder: Path, **changes: object) -> TrainingRun:
    recipe = replace(FINETUNE, rate=0.05)
    run = TrainingRun(folder, recipe, 6, 2, 3, SIDE, CPU, torch.float32)
    return replace(run, **changes)  # type: ignore[arg-type]


def go(run: TrainingRun, judge: object = None, stop: Callable[[], bool] = lambda: False) -> SSP:
    network = new_network()
    train(network, SOURCE, run, judge, lambda *_, **__: None, stop)  # type: ignore[arg-type]
    return network


def state(network: SSP) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def kept_state(folder: Path) -> list[torch.Tensor]:
    """What the optimizer remembers in the checkpoint."""
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)["optimizer"]["state"]
    return [value for one in kept.values() for value in one.values()]


def scores(iou: float) -> Scores:
    return Scores({"square": (Overlap(1, 1), Overlap(round(iou * 100), 100))})


def test_fine_tuning_moves_the_last_convolutions_and_nothing_else(tmp_path: Path) -> None:
    before, after = state(new_network()), state(go(a_run(tmp_path)))
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    convolutions = {name for name, value in before.items() if value.ndim == 4}
    assert moved == {name for name in convolutions if name.startswith(("layer2", "layer3"))}


def test_training_from_scratch_moves_batch_normalisation_too(tmp_path: Path) -> None:
    before, after = state(new_network()), state(go(a_run(tmp_path, recipe=SCRATCH)))
    assert not any(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("recipe", [FINETUNE, SCRATCH], ids=["finetune", "scratch"])
def test_a_stopped_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, recipe: object) -> None:
    whole, stopped = (a_run(tmp_path / name, recipe=recipe) for name in ("whole", "stopped"))
    wanted = state(go(whole))
    asked = iter([False, True])  # stop after the second step, between two checkpoints
    go(stopped, stop=lambda: next(asked))
    assert trained_steps(stopped.folder) == 2
    found = state(go(stopped))
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())
    first, second = (kept_state(run.folder) for run in (whole, stopped))
    assert len(first) > 2 and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert trained_steps(stopped.folder) == 6


def test_what_was_logged_after_the_last_checkpoint_is_logged_again(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    asked = iter([False, False, False, True])
    go(run, lambda _: scores(0.5), lambda: next(asked))
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 5, "loss": 77}\n{"step": 5, "lo')
    go(run, lambda _: scores(0.6))
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines if "val_miou" in line] == [0, 3, 6]
    assert [line["step"] for line in lines if "loss" in line] == [3, 4, 6]


def test_it_learns_and_the_best_checkpoint_is_that_of_the_best_validation(tmp_path: Path) -> None:
    """Validated on squares that it does not learn from, segmented as step 3 does it."""
    others = {
        "square": tuple(Pair("square", f"v{i}", lambda i=i: square(50 + i)) for i in range(4))
    }
    validation_episodes = fixed_episodes(others, others, 1, 4, seed=0)

    def judge(network: SSP) -> Scores:
        return validate(network, validation_episodes, SIDE, CPU, torch.float32)

    run = a_run(tmp_path, recipe=replace(SCRATCH, schedule=lambda *_: 1.0), steps=40, save_every=20)
    go(run, judge)
    found = validations(tmp_path)
    assert [one.step for one in found] == [0, 20, 40]
    assert found[-1].miou > found[0].miou + 0.2
    best = max(found, key=lambda one: one.miou)
    checkpoint = load_ssp(tmp_path / "best.safetensors")
    assert judge(checkpoint.network).miou == best.miou and checkpoint.input_side == SIDE


def test_the_start_stays_the_best_when_training_makes_it_worse(tmp_path: Path) -> None:
    marks = iter([0.9, 0.5, 0.9])
    go(a_run(tmp_path), lambda _: scores(next(marks)))
    start, best = new_network().state_dict(), load_ssp(tmp_path / "best.safetensors").network
    assert all(torch.equal(value, start[name]) for name, value in best.state_dict().items())


def test_bfloat16_passes_leave_float32_weights(tmp_path: Path) -> None:
    network = go(a_run(tmp_path, steps=1, dtype=torch.bfloat16))
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32, torch.int64}


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(AlignDiffError, match="not a number any more, by step 3: try --precision"):
        go(a_run(tmp_path, recipe=replace(FINETUNE, rate=1e30)))


def test_a_checkpoint_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"checkpoint.pt: no checkpoint of this training; remove"):
        go(a_run(tmp_path))


def test_tensorboard_has_the_figures_of_the_log(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(a_run(tmp_path), lambda _: scores(0.25))
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("val_iou/square")] == [0, 3, 6]
    losses = [line["loss"] for line in read_log(tmp_path) if "loss" in line]
    assert [event.value for event in board.Scalars("loss")] == pytest.approx(losses)


def test_without_tensorboard_a_note_says_where_the_figures_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    go(a_run(tmp_path, steps=1))
    (note,) = caplog.messages
    assert note.startswith("note: no TensorBoard log, the package is missing")
    assert read_log(tmp_path) and not (tmp_path / "tensorboard").exists()


def test_processes_that_do_not_know_of_each_other_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_TASK_PID", str(os.getpid()))
    with pytest.raises(InputError, match="2 processes were started that do not know of each other"):
        go(a_run(tmp_path))

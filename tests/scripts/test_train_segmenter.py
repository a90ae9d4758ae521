from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aligndiff.core.errors import InputError
from aligndiff.segmenters.ssp.checkpoint import load_ssp
from aligndiff.training.log import read_log, trained_steps
from scripts import mask_generation
from scripts.train_segmenter import main
from tests.scripts.conftest import REPOSITORY, command, told

SMALL = ("--start_from", "random", "--width", "8", "--blocks", "1", "1", "1", "--side", "48")
SHORT = ("--batch_size", "2", "--save_every", "2", "--val_episodes", "4", "--device", "cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def train(root: Path, output: Path, steps: int, *more: str) -> int:
    places = ["--dataset_dir", str(root), "--output_dir", str(output), "--steps", str(steps)]
    return main([*places, *SMALL, *SHORT, *more])


def test_it_trains_reports_and_its_checkpoint_refines(
    refined_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert train(refined_dir, output, 3) == 0
    said = capsys.readouterr().out
    assert "fish: 2 real, 6 synthetic pairs" in said and "validation: 4 episodes" in said
    assert "start: random weights, width 8, 1 + 1 + 1 blocks (command line)" in said
    assert "mIoU: start 0." in said and f"checkpoint: {output / 'best.safetensors'}" in said
    assert [line["step"] for line in read_log(output) if "val_miou" in line] == [0, 2, 3]

    before = (output / "last.safetensors").read_bytes()
    assert train(refined_dir, output, 3) == 0
    assert "nothing to do: trained for 3 steps" in capsys.readouterr().out
    assert (output / "last.safetensors").read_bytes() == before

    assert load_ssp(output / "best.safetensors").input_side == 48
    chosen = ["--fss_ckpt_path", str(output / "best.safetensors"), "--device", "cpu"]
    assert mask_generation.main(["--dataset_dir", str(refined_dir), *chosen, "--overwrite"]) == 0
    assert "best.safetensors" in capsys.readouterr().out


def test_other_settings_are_told_and_overwrite_trains_again(
    refined_dir: Path, tmp_path: Path
) -> None:
    assert train(refined_dir, tmp_path / "out", 1) == 0
    with pytest.raises(InputError, match=r"other settings \(seed was 0, now 1, steps was 1, now 2"):
        train(refined_dir, tmp_path / "out", 2, "--seed", "1")
    next(refined_dir.glob("synthesized/*/samples/image_000000.json")).unlink()
    with pytest.raises(InputError, match=r"synthetic_pairs was 9 \(\w+\), now 8 \(\w+\)"):
        train(refined_dir, tmp_path / "out", 1)
    assert train(refined_dir, tmp_path / "out", 2, "--overwrite") == 0
    assert trained_steps(tmp_path / "out") == 2


def test_a_folder_of_unknown_origin_is_left_alone(refined_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "best.safetensors").write_bytes(b"somebody's")
    with pytest.raises(InputError, match="has best.safetensors, but no training.json to tell how"):
        train(refined_dir, tmp_path / "out", 1)


def test_a_validation_folder_leaves_every_real_pair_to_learn_from(
    refined_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(refined_dir / "fish", tmp_path / "val" / "salmon")
    options = ["--val_dir", str(tmp_path / "val"), "--sources", "real"]
    assert train(refined_dir, tmp_path / "out", 1, *options) == 0
    said, notes = capsys.readouterr()
    assert "fish: 3 real, 0 synthetic pairs" in said and "salmon" in said
    first, second = notes.splitlines()[:2]
    assert first == "note: --val_dir: salmon is none of the classes to learn (albatross, fish)"
    assert second.startswith("note: --val_dir: 3 of its photos are learned from too, such as ")


def test_without_validation_there_is_the_last_checkpoint_alone(
    refined_dir: Path, tmp_path: Path
) -> None:
    assert train(refined_dir, tmp_path / "out", 1, "--val_fraction", "0") == 0
    written = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert written == {"last.safetensors"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--shot", "0"], "--shot: must be 1 to 100, is 0"),
        (["--shot", "9"], "fish: 2 real and 6 synthetic pairs to learn from, an episode of --shot"),
        (["--start_from", "tiny"], "--width and --blocks are of random weights; leave them out"),
        (["--blocks", "3", "4"], "--blocks: must be three numbers, as in 3 4 6"),
        (["--scale_jitter", "0.5"], "--scale_jitter: must be 1 to 4, is 0.5"),
        (["--sources", "mine"], "invalid choice: 'mine'"),
        (["--lr", "-1"], "--lr: must be above 0, at most 10, is -1"),
    ],
)
def test_mistakes_are_told(
    refined_dir: Path, tmp_path: Path, options: list[str], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        train(refined_dir, tmp_path / "out", 1, *options)
    assert not (tmp_path / "out").exists()


def test_a_start_that_is_not_there(refined_dir: Path) -> None:
    with pytest.raises(InputError, match=r"no file no.pth.*without it: --start_from tiny"):
        main(["--dataset_dir", str(refined_dir), "--start_from", "no.pth"])


def test_a_start_in_the_output_folder_is_not_written_over(
    refined_dir: Path, tmp_path: Path
) -> None:
    assert train(refined_dir, tmp_path / "out", 1) == 0
    last = str(tmp_path / "out" / "last.safetensors")
    places = ["--dataset_dir", str(refined_dir), "--output_dir", str(tmp_path / "out")]
    with pytest.raises(InputError, match="lies in --output_dir, where it would be lost"):
        main([*places, "--start_from", last, "--overwrite"])


def test_one_real_pair_cannot_validate(refined_dir: Path, tmp_path: Path) -> None:
    for path in refined_dir.glob("*/[23].*"):
        path.unlink()
    with pytest.raises(InputError, match="no class has two real pairs, one to segment by and one"):
        train(refined_dir, tmp_path / "out", 1)


def test_a_mistake_is_told_before_torch_is_loaded(refined_dir: Path) -> None:
    done = command("train_segmenter", "--dataset_dir", str(refined_dir), "--shot", "99")
    assert done.returncode == 2
    assert told(done.stderr)[0].startswith("no segmenter checkpoint: give --start_from FILE")


def test_two_processes_end_where_one_does(refined_dir: Path, tmp_path: Path) -> None:
    """Frozen batch normalisation, so that a batch may be split; sums are added in another order."""
    assert train(refined_dir, tmp_path / "start", 1) == 0
    start = ["--start_from", str(tmp_path / "start" / "last.safetensors")]
    places = ["--dataset_dir", str(refined_dir), *start, "--steps", "3", "--lr", "0.02", *SHORT]
    places += ["--precision", "float32"]
    assert main([*places, "--output_dir", str(tmp_path / "one")]) == 0
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    words = ["scripts.train_segmenter", *places, "--output_dir", str(tmp_path / "two")]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *words],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checkpoint: ") == 2  # the first process alone talks: best, last
    begun, one, two = (
        load_ssp(tmp_path / name / "last.safetensors").network.state_dict()
        for name in ("start", "one", "two")
    )
    moved = max((one[name] - begun[name]).abs().max().item() for name in one)
    apart = max((one[name] - two[name]).abs().max().item() for name in one)
    assert moved > 1e-3 and apart < 1e-5


def test_composed_training_and_what_it_cannot_do_without(
    refined_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert train(refined_dir, output, 2, "--compose") == 0
    assert trained_steps(output) == 2
    with pytest.raises(InputError, match="trained with other settings"):
        train(refined_dir, output, 3)
    with pytest.raises(InputError, match="--backgrounds: is what --compose pastes into"):
        train(refined_dir, output, 3, "--backgrounds", str(refined_dir / "fish"))
    capsys.readouterr()

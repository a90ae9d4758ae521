"""Flags that are wrong, absurd or contradict each other, and outputs that cannot be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from aligndiff.dataset.prompt_bank import load_prompt_bank
from scripts import diffuse_img_attention, image_mask_inversion, mask_generation
from tests.scripts.conftest import SCRIPTS, Refused, command, told, weights

ONE, TWO, THREE = SCRIPTS
FLAGS: list[tuple[ModuleType, str, str]] = [
    # the script, what is typed, what the line says is wanted
    (ONE, "--bg_lambda -0.1", "--bg_lambda: must be 0 to 1000, is -0.1"),
    (ONE, "--bg_lambda nan", "--bg_lambda: must be a finite number, not 'nan'"),
    (ONE, "--bg_lambda 0.5 1e30", "--bg_lambda: must be 0 to 1000, is 1"),
    (ONE, "--bg_lambda 0.5 0.50", "the same value is there twice"),
    (ONE, "--inversion_steps 0", "--inversion_steps: must be 1 to 1000000, is 0"),
    (ONE, "--inversion_steps 1000000000000", "--inversion_steps: must be 1 to 1000000"),
    (ONE, "--inversion_steps 1e3", "must be a whole number, not '1e3'"),
    (ONE, "--inversion_lr 0", "--inversion_lr: must be above 0"),
    (ONE, "--inversion_lr inf", "--inversion_lr: must be a finite number, not 'inf'"),
    (ONE, "--inversion_lr 1e9", "--inversion_lr: must be above 0, at most 10"),
    (ONE, "--inversion_train_bs 10000000", "--inversion_train_bs: must be 1 to 1024"),
    (ONE, "--gradient_accumulation -3", "--gradient_accumulation: must be 1 to 1024, is -3"),
    (ONE, "--vectors 77", "--vectors: must be 1 to 16, is 77"),
    (ONE, "--side 100", "--side: must be a multiple of 8 from 64 to 4096 px, is 100"),
    (ONE, "--side 800000", "--side: must be a multiple of 8 from 64 to 4096"),
    (ONE, "--templates gone.txt", "--templates gone.txt: no such file; name a text file, or"),
    (ONE, "--templates /etc", "/etc: is a folder, not a file"),
    (ONE, "--initializer good water", "--initializer: takes one word, or 1, one for each vector"),
    (ONE, "--augment turn", "choose from 'none', 'flip', 'crop', 'scale', 'colour'"),
    (ONE, "--augment none flip", "--augment: none stands alone"),
    (ONE, "--inversion sphere", "choose from 'method', 'direction'"),
    (ONE, "--attention_loss -1", "--attention_loss: must be 0 to 1000, is -1"),
    (ONE, "--patience 0", "--patience: must be 1 to 1000, is 0"),
    (ONE, "--sheet_samples 17", "--sheet_samples: must be 1 to 16, is 17"),
    (ONE, "--num_inference_steps 100000", "--num_inference_steps: must be 1 to 1000"),
    (ONE, "--guidance_scale -1", "--guidance_scale: must be 0 to 100, is -1"),
    (TWO, "--image_per_class 0", "--image_per_class: must be 1 to 1000000, is 0"),
    (TWO, "--image_per_class 1000000000000", "--image_per_class: must be 1 to 1000000"),
    (TWO, "--image_per_entry -5", "--image_per_entry: must be 1 to 1000000, is -5"),
    (TWO, "--image_per_class 2 --image_per_entry 2", "not allowed with argument"),
    (TWO, "--batch_size 100000", "--batch_size: must be 1 to 1024"),
    (TWO, "--num_inference_steps 0", "--num_inference_steps: must be 1 to 1000, is 0"),
    (TWO, "--num_inference_steps 5000", "--num_inference_steps: must be 1 to 1000"),
    (TWO, "--guidance_scale nan", "--guidance_scale: must be a finite number, not 'nan'"),
    (TWO, "--guidance_scale=-inf", "--guidance_scale: must be a finite number"),
    (TWO, "--guidance_scale 101", "--guidance_scale: must be 0 to 100, is 101"),
    (TWO, "--side 0", "--side: must be a multiple of 8 from 8 to 4096 px, is 0"),
    (TWO, "--side 64 100", "--side: must be a multiple of 8 from 8 to 4096 px, is 100"),
    (TWO, "--side 80000", "--side: must be a multiple of 8 from 8 to 4096 px, is 80000"),
    (TWO, "--side 64 64 64", "--side: takes one number, or two: height and width"),
    (TWO, "--image_format gif", "choose from 'jpg', 'png'"),
    (TWO, "--seed " + "9" * 30, "--seed: must be a number of at most 63 bits"),
    (TWO, "--seed " + "9" * 5000, "--seed: must be a whole number"),
    (TWO, "--device cpu --precision float16", "--precision float16 needs a GPU and --device says"),
    (TWO, "--workers 100000", "--workers: must be 0 to 64, is 100000"),
    (TWO, "--device tpu", "choose from 'auto', 'cpu', 'cuda', 'mps'"),
    (TWO, "--categories", "expected at least one argument"),
    (TWO, "--categories dog", 'dataset.json: no category "dog"'),
    (TWO, "--image_per_clas 3", "did you mean --image_per_class?"),
    (TWO, "stray", "unknown argument stray"),
    (TWO, "--diffusion_model ~nobody/x/y", "~nobody/x/y (command line): no such folder"),
    (TWO, "--diffusion_model " + "x" * 300, "no such folder, and a hub name has the form"),
    (TWO, "--diffusion_model /etc", "has no model_index.json"),
    (TWO, "--diffusion_model /dev/zero", "no such folder"),
    (THREE, "--consensus_iou_threshold 1.01", "--consensus_iou_threshold: must be 0 to 1, is 1.01"),
    (THREE, "--heatmap_threshold nan", "--heatmap_threshold: must be a finite number"),
    (THREE, "--foreground_threshold -0.1", "--foreground_threshold: must be 0 to 1, is -0.1"),
    (THREE, "--pseudo_label_threshold high", "must be a finite number, not 'high'"),
    (THREE, "--support_weight 0", "--support_weight: must be above 0, below 1, is 0"),
    (THREE, "--batch_size 1000000", "--batch_size: must be 1 to 1024"),
    (THREE, "--shard_size 0", "--shard_size: must be 1 to 100000, is 0"),
    (THREE, "--shard_size -3", "--shard_size: must be 1 to 100000, is -3"),
    (THREE, "--shard_size 1000000000000", "--shard_size: must be 1 to 100000"),
    (THREE, "--shard_size 1e3", "--shard_size: must be a whole number, not '1e3'"),
    (THREE, "--fss_ckpt_path gone.pth", "no file gone.pth; docs/PREPARE.md says where"),
    (THREE, "--fss_ckpt_path /dev/zero", "no file /dev/zero"),
    (THREE, "--fss_ckpt_path " + "x" * 300, "no file xxx"),
    (THREE, "--fss_ckpt_path /", "no file /"),
    (THREE, "--fss_ckpt_path models\\ssp.pth", "(folders are parted by / here: models/ssp.pth)"),
    (TWO, "--diffusion_model models\\sd15\\", "(folders are parted by / here: models/sd15)"),
    (TWO, "--diffusion_model C:\\sd15", "no such folder (a path of Windows: write it as this"),
    (TWO, "--diffusion_model tiny ", "an argument of spaces alone: a \\ that continues a line"),
]


@pytest.mark.parametrize(
    ("script", "typed", "wanted"), FLAGS, ids=[typed[:40] for _, typed, _ in FLAGS]
)
def test_flags(
    script: ModuleType, typed: str, wanted: str, dataset_dir: Path, refused: Refused
) -> None:
    (line,) = refused(script, dataset_dir, *typed.split(" "))
    assert wanted in line


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 with WORLD_SIZE=2: the rank must be"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "RANK=one with WORLD_SIZE=2"),
        ({"RANK": "0", "WORLD_SIZE": "-1"}, "correct or unset these variables"),
        ({"ALIGNDIFF_RANK": "0"}, "go together; set both or neither"),
        ({"RANK": "0", "WORLD_SIZE": "4"}, "no torchrun stands behind this process: 'unset RANK"),
        (
            {"SLURM_PROCID": "3", "SLURM_NTASKS": "4"},
            "no srun stands behind this process: 'unset SLURM_PROCID SLURM_NTASKS'",
        ),
    ],
)
def test_launchers_that_say_nonsense(
    variables: dict[str, str],
    problem: str,
    dataset_dir: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (line,) = refused(TWO, dataset_dir, "--diffusion_model", "tiny", "--categories", "albatross")
    assert problem in line


@pytest.mark.parametrize("typed", ["--launcher ray", "--workers 2"])
def test_two_launchers_at_once(
    typed: str, dataset_dir: Path, refused: Refused, torchrun: Callable[[int, int], None]
) -> None:
    torchrun(0, 2)
    (line,) = refused(TWO, dataset_dir, *typed.split())
    assert f"{typed}: torchrun or srun has started the processes already; leave one" in line


def blocked(name: str) -> Callable[[Path], Path]:
    """A file where a folder must be."""

    def block(root: Path) -> Path:
        path = root / name.replace("<id>", load_prompt_bank(root).entries[2].id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("in the way")
        return path

    return block


def folder_at(name: str) -> Callable[[Path], Path]:
    """A folder where a file must be."""

    def make(root: Path) -> Path:
        path = root / name
        path.mkdir(parents=True)
        return path

    return make


@pytest.mark.parametrize(
    ("script", "make"),
    [
        (ONE, blocked("fish/learned_embeddings")),
        (ONE, blocked("fish/learned_embeddings/samples")),
        (ONE, folder_at("fish/learned_embeddings/loss.png")),
        (ONE, blocked("sheets")),
        (ONE, folder_at("sheets/1_inversion.png")),
        (TWO, blocked("synthesized")),
        (TWO, blocked("synthesized/<id>")),
        (TWO, blocked("synthesized/<id>/generated_images")),
        (TWO, blocked("synthesized/<id>/samples")),
        (TWO, folder_at("sheets/2_synthesis.png")),
    ],
)
def test_outputs_in_the_way(
    script: ModuleType, make: Callable[[Path], Path], dataset_dir: Path, refused: Refused
) -> None:
    path = make(dataset_dir)
    categories = ("--categories", "fish" if script is ONE else "albatross")
    (line,) = refused(script, dataset_dir, *weights(script), *categories)
    assert line.startswith(f"{path}: is ") and "move it" in line


@pytest.fixture
def read_only(dataset_dir: Path) -> Iterator[Path]:
    """The dataset in a folder that even root cannot write into; skips where none can be made."""
    dataset_dir.chmod(0o555)
    sealed = (
        os.geteuid() == 0 and subprocess.run(["chattr", "+i", str(dataset_dir)]).returncode == 0
    )
    if os.access(dataset_dir, os.W_OK):
        pytest.skip("no folder can be made read-only for this user")
    yield dataset_dir
    if sealed:
        subprocess.run(["chattr", "-i", str(dataset_dir)], check=True)
    dataset_dir.chmod(0o755)


def test_a_read_only_dataset(read_only: Path, refused: Refused) -> None:
    options = ("--diffusion_model", "tiny", "--categories", "albatross")
    (line,) = refused(TWO, read_only, *options)
    assert line.startswith(f"{read_only}: may not be written to; change its permissions")


@pytest.mark.parametrize("script", [image_mask_inversion, diffuse_img_attention, mask_generation])
def test_flags_as_a_process_without_torch(script: ModuleType, dataset_dir: Path) -> None:
    argv = ("--dataset_dir", str(dataset_dir), "--workers", "nan", "--device", "cpu")
    done = command(script.__name__.split(".")[1], *argv)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = told(done.stderr)
    assert "argument --workers: must be a whole number, not 'nan'" in line


def test_names_that_the_terminal_cannot_show(dataset_dir: Path) -> None:
    root = dataset_dir.rename(dataset_dir.parent / os.fsdecode(b"caf\xe9 \xe7\x8c\xab"))
    argv = ("--dataset_dir", str(root), "--categories", "猫")
    done = command("diffuse_img_attention", *argv, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    (line,) = told(done.stderr)
    assert r'no category "\u732b"' in line

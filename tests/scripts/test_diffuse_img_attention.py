"""The script of step 2 as a user runs it: continuing, several processes, failures, mistakes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.diffusion import pretrained as diffusion
from scripts import diffuse_img_attention

REPOSITORY = Path(__file__).resolve().parents[2]
# Batches of one: what shares a batch may differ by a grey level, and here bytes are compared.
QUICK = ("--num_inference_steps", "2", "--batch_size", "1", "--device", "cpu")


@pytest.fixture
def text_dataset(dataset_dir: Path) -> Path:
    """The dataset with its two text entries only, one of fish and one of albatross."""
    path = dataset_dir / "dataset.json"
    bank = json.loads(path.read_text())
    bank["prompt_dataset"] = [e for e in bank["prompt_dataset"] if e["type"] == "text"]
    path.write_text(json.dumps(bank))
    return dataset_dir


def arguments(root: Path, model: Path, *more: str) -> list[str]:
    return ["--dataset_dir", str(root), "--diffusion_model", str(model), *QUICK, *more]


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "scripts.diffuse_img_attention", *argv]


def run(argv: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*argv),
        cwd=REPOSITORY,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def outputs(root: Path) -> dict[str, bytes]:
    """Every file that step 2 makes, by its path; names of unfinished files included."""
    folder = root / "synthesized"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def times(root: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in (root / "synthesized").rglob("*.*")}


def made_skipped_failed(stdout: str) -> list[list[str]]:
    """The three numbers of each row of the table."""
    return [line.split()[1:4] for line in stdout.splitlines() if "synthesized" in line]


def test_help_answers_at_once() -> None:
    start = time.monotonic()
    done = run(["--help"])
    assert done.returncode == 0 and time.monotonic() - start < 3  # ~0.4 s on a quiet machine
    assert "--image_per_class" in done.stdout and "default: 100)" in done.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--guidance_scal", "3"],
            "unknown argument --guidance_scal, did you mean --guidance_scale",
        ),
        (
            ["--image_per_class", "few"],
            "argument --image_per_class: must be a whole number, not 'few'",
        ),
        (["--image_per_class", "2", "--image_per_entry", "2"], "not allowed with argument"),
        (["--batch_size", "0"], "--batch_size: must be 1 to 1024, is 0"),
        (["--workers", "-1"], "--workers: must be 0 to 64, is -1"),
        (["--categories", "fisch"], 'did you mean "fish"'),
        (
            ["--diffusion_model", "nowhere"],
            "diffusion model nowhere (command line): no such folder",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(
    text_dataset: Path, tiny_pipeline_dir: Path, more: list[str], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        diffuse_img_attention.main(arguments(text_dataset, tiny_pipeline_dir, *more))
    assert len(caught.value.problems) == 1 and message in str(caught.value)
    assert not (text_dataset / "synthesized").exists()


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run(["--dataset_dir", str(tmp_path)])
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "dataset.json: no such file" in line
    done = run(["--dataset_dir"])
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_a_prompt_too_long_is_found_with_the_models_own_tokenizer(
    text_dataset: Path, tiny_pipeline_dir: Path
) -> None:
    path = text_dataset / "dataset.json"
    bank = json.loads(path.read_text())
    bank["prompt_dataset"][0]["text"] = "fish " * 75  # 77 tokens with start and end: fits
    path.write_text(json.dumps(bank))
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_entry", "1", "--no_sheet")
    assert diffuse_img_attention.main(argv) == 0
    bank["prompt_dataset"][0]["text"] = "fish " * 76
    bank["defaults"] = {"diffusion_model": str(tiny_pipeline_dir)}
    path.write_text(json.dumps(bank))
    with pytest.raises(InputError, match=r"entry 1 \(fish\): text: the prompt has 78 tokens"):
        diffuse_img_attention.main(["--dataset_dir", str(text_dataset)])


def test_a_run_draws_reports_and_a_second_one_makes_nothing_new(
    text_dataset: Path, tiny_pipeline_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "3")
    assert diffuse_img_attention.main(argv) == 0
    said = capsys.readouterr()
    assert f"diffusion model: {tiny_pipeline_dir} (command line)" in said.out
    (bar,) = said.err.splitlines()  # all that is said where there is no terminal
    assert bar.startswith("generating: 100% in ") and bar.endswith(", fish 3/3, albatross 3/3")
    sheet = text_dataset / "sheets" / "2_synthesis.png"
    assert f"contact sheet: {sheet}" in said.out and min(Image.open(sheet).size) > 200
    assert made_skipped_failed(said.out) == [["3", "0", "0"]] * 2
    assert len(outputs(text_dataset)) == 2 * (1 + 3 * 3)

    before = times(text_dataset)
    assert diffuse_img_attention.main(argv) == 0
    assert times(text_dataset) == before
    assert made_skipped_failed(capsys.readouterr().out) == [["0", "3", "0"]] * 2
    more = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "4", "--no_sheet")
    assert diffuse_img_attention.main(more) == 0
    after = times(text_dataset)
    assert {name for name in after if after[name] != before.get(name)} == after.keys() - before
    assert len(after) == 2 * (1 + 4 * 3)


def test_a_rerun_with_nothing_to_do_loads_no_model(
    text_dataset: Path, tiny_pipeline_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "1", "--no_sheet")
    assert diffuse_img_attention.main(argv) == 0
    monkeypatch.setattr(diffusion, "load_pipeline", None)
    assert diffuse_img_attention.main(argv) == 0


def test_other_settings_ask_for_overwrite_which_replaces_all(
    text_dataset: Path, tiny_pipeline_dir: Path
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "3", "--no_sheet")
    assert diffuse_img_attention.main(argv) == 0
    before = outputs(text_dataset)
    other = [*argv, "--guidance_scale", "5", "--image_format", "png"]
    with pytest.raises(InputError) as caught:
        diffuse_img_attention.main(other)
    assert len(caught.value.problems) == 2
    assert "guidance_scale was 7.5, now 5.0, image_format was jpg, now png" in str(caught.value)
    assert outputs(text_dataset) == before
    fewer = ["--image_per_class", "2", "--overwrite"]
    assert diffuse_img_attention.main([*other, *fewer]) == 0
    after = outputs(text_dataset)
    assert len(after) == 2 * (1 + 2 * 3) and not any(name.endswith("jpg") for name in after)
    assert diffuse_img_attention.main([*argv, "--overwrite"]) == 0
    assert outputs(text_dataset) == before


def test_negative_prompts_of_the_run_and_of_an_entry(
    text_dataset: Path, tiny_pipeline_dir: Path
) -> None:
    path = text_dataset / "dataset.json"
    bank = json.loads(path.read_text())
    first, second = bank["prompt_dataset"]
    entries = [first, first | {"negative_prompt": "water"}, second | {"negative_prompt": ""}]
    path.write_text(json.dumps(bank | {"prompt_dataset": entries}))
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_entry", "1", "--no_sheet")
    typed = [*argv, "--negative_prompt", "good dog"]
    assert diffuse_img_attention.main(typed) == 0
    files = text_dataset.glob("synthesized/*/entry.json")
    settings = [json.loads(file.read_text())["settings"] for file in files]
    used = sorted(kept.get("negative_prompt", "none") for kept in settings)
    assert used == ["good dog", "none", "water"]
    # What is asked for differently is noticed, and that of the entries is not.
    with pytest.raises(InputError) as caught:
        diffuse_img_attention.main(argv)
    (line,) = caught.value.problems
    assert "(negative_prompt was good dog, now not set)" in line
    bank["defaults"] = {"negative_prompt": "good dog"}
    path.write_text(json.dumps(bank | {"prompt_dataset": entries}))
    assert diffuse_img_attention.main(argv) == 0  # the same, by dataset.json


def test_a_negative_prompt_too_long_is_refused_before_the_model_loads(
    text_dataset: Path, tiny_pipeline_dir: Path
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--negative_prompt", "dog " * 80)
    with pytest.raises(InputError, match="--negative_prompt: the prompt has 82 tokens, the text e"):
        diffuse_img_attention.main(argv)
    assert not (text_dataset / "synthesized").exists()


def test_overwrite_with_a_model_that_does_not_load_loses_nothing(
    text_dataset: Path, tiny_pipeline_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "2", "--no_sheet")
    assert diffuse_img_attention.main(argv) == 0
    before = outputs(text_dataset)
    broken = Path(shutil.copytree(tiny_pipeline_dir, tmp_path / "broken"))
    next(broken.glob("unet/*.safetensors")).unlink()
    again = arguments(text_dataset, broken, "--no_sheet", "--overwrite")
    done = run(again)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: diffusion model {broken} (command line): cannot be loaded")
    assert outputs(text_dataset) == before
    monkeypatch.setenv("ALIGNDIFF_RANK", "0")
    monkeypatch.setenv("ALIGNDIFF_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="cannot be loaded from the folder"):
        diffuse_img_attention.main(again)
    assert outputs(text_dataset) == before


def test_the_prompt_banks_defaults_count_unless_the_command_line_says_otherwise(
    text_dataset: Path, tiny_pipeline_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = text_dataset / "dataset.json"
    bank = json.loads(path.read_text())
    bank["defaults"] = {
        "diffusion_model": str(tiny_pipeline_dir),
        "guidance_scale": 3.5,
        "num_inference_steps": 9,
        "scheduler": "dpm++",
    }
    path.write_text(json.dumps(bank))
    argv = ["--dataset_dir", str(text_dataset), "--no_sheet", *QUICK, "--image_per_class", "1"]
    assert diffuse_img_attention.main(argv) == 0
    assert f"diffusion model: {tiny_pipeline_dir} (dataset.json)" in capsys.readouterr().out
    (entry, _) = sorted((text_dataset / "synthesized").glob("*/entry.json"))
    settings = json.loads(entry.read_text())["settings"]
    assert (settings["guidance_scale"], settings["num_inference_steps"]) == (3.5, 2)
    assert settings["scheduler"] == "dpm++"


def test_two_processes_make_the_very_files_of_one(
    text_dataset: Path, tiny_pipeline_dir: Path
) -> None:
    """With --overwrite, so that one comparison shows that they replace all of them, too."""
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "3", "--no_sheet")
    assert diffuse_img_attention.main(argv) == 0
    one, written = outputs(text_dataset), times(text_dataset)
    done = run([*argv, "--workers", "2", "--overwrite"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("diffusion model:") == 1, "the parent alone speaks"
    assert made_skipped_failed(done.stdout) == [["3", "0", "0"]] * 2
    assert outputs(text_dataset) == one and len(one) == 2 * (1 + 3 * 3)
    kept = {
        Path(name).name for name, time_ns in times(text_dataset).items() if time_ns == written[name]
    }
    assert kept == {"entry.json"}


def test_torchruns_variables_share_the_work_out(
    text_dataset: Path, tiny_pipeline_dir: Path, torchrun: Callable[[int, int], None]
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "3", "--no_sheet")
    made: list[set[str]] = []
    for rank in (1, 0):  # the first one tells of all of it
        torchrun(rank, 2)
        before = set(outputs(text_dataset))
        assert diffuse_img_attention.main(argv) == 0
        made.append({name for name in set(outputs(text_dataset)) - before if "samples" in name})
    assert [len(names) for names in made] == [3, 3] and not made[0] & made[1]


def test_a_worker_that_dies_is_reported_and_the_other_lives_on(
    text_dataset: Path, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    """Rank 1 is killed by its own start-up file, as an out-of-memory killer would."""
    killer = "import os\nif os.environ.get('ALIGNDIFF_RANK') == '1': os.kill(os.getpid(), 9)\n"
    (tmp_path / "sitecustomize.py").write_text(killer)
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "3", "--no_sheet")
    done = run([*argv, "--workers", "2"], PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    killed = [line for line in done.stderr.splitlines() if "1 of 2 was killed by SIGKILL" in line]
    assert [line.endswith("started again") for line in killed] == [True, False]
    assert made_skipped_failed(done.stdout) == [["2", "0", "1"], ["1", "0", "2"]]


def test_a_sample_that_fails_gives_exit_code_1_and_is_tried_again(
    text_dataset: Path,
    tiny_pipeline_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "2", "--no_sheet")
    real = diffusion.load_pipeline

    def load_broken(*args: Any) -> Any:
        pipe = real(*args)
        calls = 0

        def spoil(_unet: Any, _args: Any, output: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            nonlocal calls
            calls += 1
            return (output[0] * (float("nan") if calls <= 3 else 1),)  # the first sample

        pipe.unet.register_forward_hook(spoil)
        return pipe

    monkeypatch.setattr(diffusion, "load_pipeline", load_broken)
    assert diffuse_img_attention.main(argv) == 1
    said = capsys.readouterr()
    assert made_skipped_failed(said.out) == [["1", "0", "1"], ["2", "0", "0"]]
    assert "image 0: the model produced NaN" in said.err
    monkeypatch.setattr(diffusion, "load_pipeline", real)
    assert diffuse_img_attention.main(argv) == 0


def test_a_run_that_is_killed_goes_on_to_the_same_files(
    text_dataset: Path, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "15", "--no_sheet")
    process = subprocess.Popen(
        command(*argv), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while len(list(text_dataset.glob("synthesized/*/samples/*.json"))) < 3:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = times(text_dataset)
    finished = [name for name in begun if "/samples/" in name and not Path(name).name[0] == "."]
    assert 3 <= len(finished) < 30
    assert diffuse_img_attention.main(argv) == 0
    after = times(text_dataset)
    assert all(after[name] == begun[name] for name in finished)
    interrupted = outputs(text_dataset)
    (text_dataset / "synthesized").rename(tmp_path / "interrupted")
    assert diffuse_img_attention.main(argv) == 0
    assert outputs(text_dataset) == interrupted


def test_images_of_an_entry_are_all_different(text_dataset: Path, tiny_pipeline_dir: Path) -> None:
    argv = arguments(text_dataset, tiny_pipeline_dir, "--image_per_class", "3", "--no_sheet")
    assert diffuse_img_attention.main([*argv, "--side", "32", "48"]) == 0
    images = [np.asarray(Image.open(p)) for p in text_dataset.glob("synthesized/*/gen*/*.jpg")]
    assert {image.shape for image in images} == {(32, 48, 3)}
    assert len({image.tobytes() for image in images}) == 6

"""The script of step 1, on a real tiny pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import read_image
from aligndiff.inversion import learn as inversion
from scripts import diffuse_img_attention

FISH = Path("fish", "learned_embeddings")
BIRD = Path("albatross", "learned_embeddings")


def rows(folder: Path) -> bytes:
    return (folder / "learned_embeds.safetensors").read_bytes()


def states(text: str) -> list[str]:
    """The state column of the table that the script prints."""
    words = [line.split() for line in text.splitlines()]
    return [line[2] for line in words if line[:1] in (["fish"], ["albatross"])]


def no_pipeline(*_: Any) -> None:
    raise AssertionError("the pipeline was loaded")


def test_learns_then_skips(
    start: Any,
    dataset_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert start("--sheet_samples", "2") == 0
    text = capsys.readouterr().out
    assert "diffusion model: " in text and "(command line)" in text
    assert states(text) == ["learned", "learned"]
    sheet = dataset_dir / "sheets" / "1_inversion.png"
    assert f"contact sheet: {sheet}" in text
    assert read_image(sheet).shape[1] > 6 * 192  # three pairs, the loss, two samples
    for folder in (dataset_dir / FISH, dataset_dir / BIRD):
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
        assert files == {
            *("learned_embeds.safetensors", "inversion.json", "loss.png"),
            *("samples/sample_0.png", "samples/sample_1.png", "samples/samples.json"),
        }
    before = rows(dataset_dir / FISH)

    monkeypatch.setattr("aligndiff.diffusion.pretrained.load_pipeline", no_pipeline)
    assert start("--sheet_samples", "2") == 0
    assert states(capsys.readouterr().out) == ["skipped", "skipped"]
    with pytest.raises(InputError) as raised:
        start("--seed", "7")
    assert [problem.split(": ", 1)[1] for problem in raised.value.problems] == [
        "seed was 0, now 7; --overwrite learns it again"
    ] * 2
    assert rows(dataset_dir / FISH) == before


def test_the_sheet_is_drawn_by_the_scheduler_of_the_dataset(start: Any, dataset_dir: Path) -> None:
    """The sheet drew by the model's own, whatever step 2 was going to draw by."""
    samples = dataset_dir / FISH / "samples"
    few = ("--categories", "fish", "--sheet_samples", "1", "--num_inference_steps", "3")
    assert start(*few) == 0
    own = read_image(samples / "sample_0.png")
    assert "scheduler" not in json.loads((samples / "samples.json").read_text())
    path = dataset_dir / "dataset.json"
    bank = json.loads(path.read_text())
    bank["defaults"] = {**bank.get("defaults", {}), "scheduler": "dpm++"}
    path.write_text(json.dumps(bank))
    learned = rows(dataset_dir / FISH)
    assert start(*few) == 0
    assert rows(dataset_dir / FISH) == learned, "nothing is learned again for it"
    assert json.loads((samples / "samples.json").read_text())["scheduler"] == "dpm++"
    assert not np.array_equal(read_image(samples / "sample_0.png"), own)


def test_overwrite_learns_the_same_again(start: Any, dataset_dir: Path) -> None:
    options = ("--categories", "fish", "--no_sheet")
    assert start(*options) == 0
    before, file = rows(dataset_dir / FISH), dataset_dir / FISH / "learned_embeds.safetensors"
    first = file.stat().st_mtime_ns
    assert start(*options, "--overwrite") == 0
    assert rows(dataset_dir / FISH) == before and file.stat().st_mtime_ns != first
    assert start(*options, "--overwrite", "--seed", "1") == 0
    assert rows(dataset_dir / FISH) != before
    assert not (dataset_dir / BIRD).exists() and not (dataset_dir / "sheets").exists()


def test_every_option_of_learning_is_recorded_and_kept(
    start: Any, dataset_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = dataset_dir / "own.txt"
    texts.write_text("a photo of a {}\nphoto of a {} on water\n")
    options = [
        *("--categories", "fish", "--no_sheet", "--templates", str(texts)),
        *("--augment", "flip", "crop", "scale", "colour", "--vectors", "2"),
        *("--initializer", "good", "water", "--inversion", "direction", "--attention_loss", "0.5"),
    ]
    assert start(*options) == 0
    settings = json.loads((dataset_dir / FISH / "inversion.json").read_text())["settings"]
    assert settings["templates"] == ["a photo of a {}", "photo of a {} on water"]
    assert settings["initializer"] == ["good", "water"] and settings["inversion"] == "direction"
    assert settings["augment"] == ["flip", "crop", "scale", "colour"]
    assert settings["attention_loss"] == 0.5 and settings["inversion_lr"] == 0.01
    capsys.readouterr()
    assert start(*options) == 0
    assert states(capsys.readouterr().out) == ["skipped"]
    texts.write_text("a photo of a {}\n")
    with pytest.raises(InputError, match="the templates changed; --overwrite learns it again"):
        start(*options)


def test_a_template_that_is_too_long_is_refused_before_the_model_loads(
    start: Any, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = dataset_dir / "own.txt"
    texts.write_text(f"a photo of a {{}}{' on water' * 40}\n")
    monkeypatch.setattr("aligndiff.diffusion.pretrained.load_pipeline", no_pipeline)
    with pytest.raises(InputError, match="the text encoder reads 77 at most: shorten it"):
        start("--categories", "fish", "--templates", str(texts))


@pytest.mark.parametrize(
    "mistake",
    [
        ("--initializer", "albatross"),
        ("--device", "cuda"),
        ("--launcher", "ray", "--ray_address", "127.0.0.1:9"),
    ],
)
def test_overwrite_costs_nothing_when_learning_cannot_start(
    start: Any, dataset_dir: Path, mistake: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    options = ("--categories", "fish", "--no_sheet")
    assert start(*options) == 0
    before = rows(dataset_dir / FISH)
    with pytest.raises(InputError):
        start(*options, "--overwrite", *mistake)
    assert rows(dataset_dir / FISH) == before
    assert not (dataset_dir / FISH / "outdated.json").exists()


def test_overwrite_by_workers_costs_nothing_when_they_cannot_start(
    start: Any, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert start("--no_sheet") == 0
    for mistake in (("--precision", "float16"), ("--device", "cuda", "--precision", "float32")):
        with pytest.raises(InputError):
            start("--no_sheet", "--overwrite", "--workers", "2", *mistake)
    assert not list(dataset_dir.rglob("outdated.json"))


def test_a_failure_that_is_over_leaves_no_reason(start: Any, dataset_dir: Path) -> None:
    """As when the earlier embedding is kept after all, by removing the mark."""
    assert start("--no_sheet") == 0
    reason = dataset_dir / FISH / "failure.json"
    reason.write_text("{}")
    assert start("--no_sheet") == 0
    assert not reason.exists()


def test_step_2_does_not_draw_with_what_is_to_be_learned_again(
    start: Any, dataset_dir: Path, tiny_pipeline_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted --overwrite goes on without it, to the end; until then the old one waits."""
    assert start("--no_sheet") == 0
    before = rows(dataset_dir / BIRD)
    learn = inversion.learn_vectors
    calls = []

    def interrupted(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return learn(*args)

    monkeypatch.setattr(inversion, "learn_vectors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start("--no_sheet", "--overwrite", "--seed", "1")
    outdated = dataset_dir / BIRD / "outdated.json"
    assert rows(dataset_dir / BIRD) == before and "to keep it, remove this" in outdated.read_text()
    where = ["--dataset_dir", str(dataset_dir), "--diffusion_model", str(tiny_pipeline_dir)]
    with pytest.raises(InputError, match="is to be learned again, and step 1 has not done it yet"):
        diffuse_img_attention.main([*where, "--image_per_entry", "1"])
    assert start("--no_sheet", "--seed", "1") == 0
    assert len(calls) == 3, "the first one is not learned again"
    assert rows(dataset_dir / BIRD) != before and not outdated.exists()


def test_sweep_then_pick(start: Any, dataset_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ("--categories", "fish", "--bg_lambda", "0.2", "1.0")
    assert start(*sweep, "--sheet_samples", "1") == 0
    text = capsys.readouterr().out
    assert states(text) == ["learned", "learned"]
    assert "to pick: look at the sheet, then run this again with the one --bg_lambda" in text
    # The same noise for both values: their samples differ by the embedding alone.
    low, high = (dataset_dir / FISH / f"bg_lambda_{value}" for value in ("0.2", "1"))
    one, other = (read_image(folder / "samples" / "sample_0.png") for folder in (low, high))
    assert np.abs(one.astype(int) - other).mean() < 8
    assert read_image(dataset_dir / "sheets" / "1_inversion.png").shape[1] > 5 * 192

    assert start("--categories", "fish", "--bg_lambda", "1.0", "--sheet_samples", "1") == 0
    assert states(capsys.readouterr().out) == ["copied"]
    assert rows(dataset_dir / FISH) == rows(high) != rows(low)


def test_a_failed_object_stops_no_other(
    start: Any,
    dataset_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import aligndiff.inversion.latents as latents

    encode, calls = latents.encode_support, []

    def broken(*args: Any) -> Any:
        calls.append(1)
        support = encode(*args)
        support.mean.mul_(float("nan") if len(calls) == 1 else 1)
        return support

    monkeypatch.setattr(latents, "encode_support", broken)
    assert start("--no_sheet") == 1
    out, err = capsys.readouterr()
    assert states(out) == ["failed", "learned"]
    assert f"failed: {dataset_dir / FISH}: the loss is not a number any more" in err
    assert [path.name for path in (dataset_dir / FISH).iterdir()] == ["failure.json"]
    assert (dataset_dir / BIRD / "inversion.json").exists()


def test_input_errors_come_before_the_model(
    start: Any, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aligndiff.diffusion.pretrained.load_pipeline", no_pipeline)
    with pytest.raises(InputError, match="--initializer albatross: must be one token"):
        start("--initializer", "albatross")
    with pytest.raises(InputError, match="--inversion_steps: must be 1 to 1000000, is 0"):
        start("--inversion_steps", "0")
    with pytest.raises(InputError, match="--sheet_samples: must be 1 to 16, is 0"):
        start("--sheet_samples", "0")
    (dataset_dir / "fish" / "1.png").unlink()
    with pytest.raises(InputError, match="fish"):
        start()


def test_nothing_to_learn(
    start: Any, dataset_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dataset_dir / "dataset.json"
    bank = json.loads(path.read_text())
    bank["prompt_dataset"] = [e for e in bank["prompt_dataset"] if e["type"] == "text"]
    path.write_text(json.dumps(bank))
    assert start() == 0
    assert capsys.readouterr().out.startswith("nothing to learn")


def test_torchrun_shares_by_object(
    start: Any, dataset_dir: Path, torchrun: Callable[[int, int], None]
) -> None:
    torchrun(1, 2)
    assert start("--sheet_samples", "1") == 0
    assert (dataset_dir / BIRD / "learned_embeds.safetensors").exists()
    assert not (dataset_dir / FISH).exists() and not (dataset_dir / "sheets").exists()


def test_workers_learn_what_one_process_learns(
    start: Any, dataset_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert start("--workers", "2", "--sheet_samples", "1") == 0
    out = capfd.readouterr().out
    assert states(out) == ["learned", "learned"]
    assert out.count("contact sheet: ") == 1 and out.count("diffusion model: ") == 1
    shared = [rows(dataset_dir / folder) for folder in (FISH, BIRD)]
    assert start("--no_sheet", "--overwrite") == 0
    assert [rows(dataset_dir / folder) for folder in (FISH, BIRD)] == shared


def test_help_is_quick_and_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from scripts.image_mask_inversion import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--bg_lambda" in done.stdout and "default: 0.6)" in " ".join(done.stdout.split())

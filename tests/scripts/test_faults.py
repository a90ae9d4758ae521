"""Full, limited, read-only and vanishing disks under each of the three steps."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aligndiff.core.exits import exit_with
from aligndiff.dataset.images import write_grey, write_image
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.diffusion import embeddings
from aligndiff.diffusion import pretrained as diffusion
from aligndiff.runner import local
from aligndiff.runner.group import LaunchGroup
from aligndiff.segmenters.ssp import network as ssp
from scripts import diffuse_img_attention, image_mask_inversion, mask_generation
from scripts.reporting import without_bars
from scripts.tiny_world.world.scene import random_scene, render

QUICK = {
    image_mask_inversion: ("--inversion_steps", "2", "--inversion_train_bs", "1", "--no_sheet"),
    diffuse_img_attention: (
        *("--num_inference_steps", "2", "--image_per_entry", "4", "--batch_size", "1"),
        *("--categories", "albatross", "--no_sheet"),
    ),
    mask_generation: ("--fss_ckpt_path", "tiny", "--batch_size", "1", "--no_sheet"),
}
Step = Any
every_step = pytest.mark.parametrize("step", QUICK, ids=lambda step: step.__name__.split(".")[-1])
Runner = Callable[[Step, Path], tuple[int, list[str]]]


@pytest.fixture
def run(tiny_pipeline_dir: Path, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Run a step as the command line does; returns the code and stderr without notes and bars."""

    def run_step(step: Step, root: Path) -> tuple[int, list[str]]:
        argv = ["--dataset_dir", str(root), "--device", "cpu", *QUICK[step]]
        if step is not mask_generation:
            argv += ["--diffusion_model", str(tiny_pipeline_dir)]
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            exit_with(lambda: step.main(argv))
        code = end.value.code
        assert isinstance(code, int)
        lines = without_bars(capfd.readouterr().err)
        return code, [line for line in lines if not line.startswith("note: ")]

    return run_step


@pytest.fixture
def dataset_dir(dataset_dir: Path) -> Path:
    """With a few samples of an entry, for step 3."""
    bank = load_prompt_bank(dataset_dir)
    place = EntryFolder(bank.root, bank.entries[0])
    place.make()
    record = EntryRecord(bank.entries[0].id, "text", "fish", "", "fish", "", {}, "made")
    record.write(place.entry_json)
    for index in range(4):
        scene = render(random_scene(71_000_000 + index, "fish", alone=True))
        write_image(place.image_path(index, "jpg"), scene.image)
        write_grey(place.heatmap_path(index), scene.masks[0].astype(np.uint8) * 255)
        SampleRecord(index, 7, "synthesized", "jpg", "made").write(place.record_path(index))
    return dataset_dir


def files(root: Path) -> dict[str, bytes]:
    """Every file below `root`, unfinished ones included."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def fill(disk: Path, but: int) -> Path:
    """Take all space of a file system but so many bytes; returns the file to remove again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        with pytest.raises(OSError) as error:
            while True:
                file.write(bytes(4096))
        assert error.value.errno == errno.ENOSPC
        file.truncate(file.tell() - but)
    return ballast


@every_step
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    run: Runner, step: Step, dataset_dir: Path, small_disk: Path
) -> None:
    root = Path(shutil.copytree(dataset_dir, small_disk / "dataset"))
    assert run(step, dataset_dir) == (0, [])
    # Enough for the lock and a part of the work.
    ballast = fill(small_disk, but=4096 * (2 if step is image_mask_inversion else 6))
    before = files(root)
    code, (line,) = run(step, root)
    assert code == 1 and line.startswith(f"error: {root}/") and "No space left on device" in line
    assert "make space on the disk; then run the same command again" in line
    wanted = files(dataset_dir)
    written = {name for name, data in files(root).items() if before.get(name) != data}
    assert written <= wanted.keys(), "no half file, no failure of a sample"
    assert written or step is image_mask_inversion, "an embedding comes as a whole"
    ballast.unlink()
    assert run(step, root) == (0, [])
    assert files(root) == wanted


def test_a_limit_on_the_size_of_files_is_one_line(
    run: Runner, dataset_dir: Path, file_limit: Any
) -> None:
    """Where no file system can be mounted, this is the way to a write that really fails."""
    with file_limit(2000):
        code, (line,) = run(diffuse_img_attention, dataset_dir)
    assert code == 1 and "generated_images/image_00000" in line
    assert "File too large: raise the limit on the size of files" in line
    assert [name for name in files(dataset_dir) if Path(name).name.startswith(".")] == []
    assert run(diffuse_img_attention, dataset_dir) == (0, [])


def in_the_middle(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """`happens` once, in the fourth pass through the network of whatever step runs."""
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == 4:
            happens()

    def load(*args: Any) -> Any:
        pipe = real_load(*args)
        pipe.unet.register_forward_pre_hook(count)
        return pipe

    def backbone(network: Any, images: Any) -> Any:
        count()
        return real_backbone(network, images)

    real_load, real_backbone = diffusion.load_pipeline, ssp.SSP.backbone
    monkeypatch.setattr(diffusion, "load_pipeline", load)
    monkeypatch.setattr(ssp.SSP, "backbone", backbone)


@every_step
def test_a_dataset_that_vanishes_is_not_made_again(
    run: Runner, step: Step, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = dataset_dir.with_name("away")
    in_the_middle(monkeypatch, lambda: dataset_dir.rename(away))
    code, lines = run(step, dataset_dir)
    assert code == 1 and not dataset_dir.exists()
    assert lines[-1].startswith(f"error: {dataset_dir}: this folder was here and is gone: bring it")
    monkeypatch.undo()
    away.rename(dataset_dir)
    assert run(step, dataset_dir)[0] == 0
    assert not [path for path in dataset_dir.rglob("failures/*")]


GONE = "this folder was here and is gone: bring it back, or mount its disk again; then run the same"


def test_a_dataset_that_vanishes_before_the_embedding_is_read_is_no_bad_input(
    run: Runner, dataset_dir: Path, tiny_pipeline_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with 2, as if there had never been an embedding."""
    learned = ["--dataset_dir", str(dataset_dir), "--diffusion_model", str(tiny_pipeline_dir)]
    assert image_mask_inversion.main([*learned, *QUICK[image_mask_inversion]]) == 0
    bank = json.loads((dataset_dir / "dataset.json").read_text())
    bank["prompt_dataset"] = [e for e in bank["prompt_dataset"] if e["type"] == "NM_embedding"]
    (dataset_dir / "dataset.json").write_text(json.dumps(bank))
    monkeypatch.setitem(QUICK, diffuse_img_attention, ("--image_per_entry", "1", "--no_sheet"))
    away, real_load = dataset_dir.with_name("away"), embeddings.load_embedding

    def load(path: Path) -> Any:
        dataset_dir.rename(away)
        return real_load(path)

    monkeypatch.setattr("aligndiff.diffusion.embeddings.load_embedding", load)
    code, (line,) = run(diffuse_img_attention, dataset_dir)
    assert code == 1 and line.startswith(f"error: {dataset_dir}: {GONE}")
    assert not dataset_dir.exists()


def add_work(step: Step, dataset_dir: Path) -> None:
    """A second unit of work where the step has one: an object to learn, an entry with samples."""
    bank = json.loads((dataset_dir / "dataset.json").read_text())
    if step is image_mask_inversion:
        bird = {"type": "NM_embedding", "category": "albatross", "D_good_dir": "albatross"}
        bank["prompt_dataset"].append({**bird, "path": "albatross"})
        (dataset_dir / "dataset.json").write_text(json.dumps(bank))
    if step is mask_generation:
        first, _, third = (
            EntryFolder(dataset_dir, entry) for entry in load_prompt_bank(dataset_dir).entries
        )
        shutil.copytree(first.folder, third.folder)


@every_step
def test_a_dataset_that_vanishes_before_the_workers_begin_is_no_bad_input(
    run: Runner, step: Step, dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_run, away = local.run_workers, dataset_dir.with_name("away")
    add_work(step, dataset_dir)
    monkeypatch.setitem(QUICK, step, (*QUICK[step], "--workers", "2"))

    def run_workers(*args: Any) -> int:
        dataset_dir.rename(away)
        return real_run(*args)

    monkeypatch.setattr("aligndiff.runner.step.run_workers", run_workers)
    code, lines = run(step, dataset_dir)
    assert code == 1 and lines[-1].startswith(f"error: {dataset_dir}: {GONE}")
    assert sum(f"error: {dataset_dir}: {GONE}" in line for line in lines) >= 3, "and each worker"
    assert not dataset_dir.exists()


def test_a_disk_whose_mount_goes_gets_nothing_in_its_place(
    run: Runner, dataset_dir: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dataset folder is the mount point: it is still there, and empty."""
    shutil.copytree(dataset_dir, small_disk, dirs_exist_ok=True)
    real_load = diffusion.load_pipeline

    def load(*args: Any) -> Any:
        subprocess.run(["mount", "--move", str(small_disk), str(elsewhere)], check=True)
        return real_load(*args)

    elsewhere = small_disk.with_name("elsewhere")
    elsewhere.mkdir()
    monkeypatch.setattr(diffusion, "load_pipeline", load)
    try:
        code, (line,) = run(diffuse_img_attention, small_disk)
        assert code == 1 and list(small_disk.iterdir()) == []
        assert line.startswith(f"error: {small_disk}/dataset.json: was here and is gone: bring")
    finally:
        subprocess.run(["mount", "--move", str(elsewhere), str(small_disk)], check=True)


@every_step
def test_a_disk_that_becomes_read_only_is_one_line(
    run: Runner, step: Step, dataset_dir: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(dataset_dir, small_disk / "dataset"))

    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    # A failing disk asks nobody; mount refuses while a file, our lock, is open for writing.
    def without_lock(root: Path, command: str) -> Any:
        return nullcontext(LaunchGroup(root, None))

    monkeypatch.setattr("aligndiff.runner.step.only_run_in", without_lock)
    in_the_middle(monkeypatch, lambda: remount("ro"))
    code, (line,) = run(step, root)
    assert code == 1 and "Read-only file system: the disk is mounted for reading only" in line
    monkeypatch.undo()
    remount("rw")
    assert run(step, root) == (0, []) == run(step, dataset_dir)
    assert files(root) == files(dataset_dir)


@every_step
def test_what_a_killed_run_left_is_gone_after_the_next(
    run: Runner, step: Step, dataset_dir: Path
) -> None:
    before = files(dataset_dir)
    assert run(step, dataset_dir) == (0, [])
    after = files(dataset_dir)
    for folder in {(dataset_dir / name).parent for name in after.keys() - before.keys()}:
        (folder / ".image_000000.png.123.0123abcd.tmp").write_bytes(b"half")
    assert files(dataset_dir) != after
    assert run(step, dataset_dir) == (0, [])
    assert files(dataset_dir) == after

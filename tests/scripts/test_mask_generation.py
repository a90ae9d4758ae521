"""The script of step 3 as a user runs it: continuing, several processes, failures, mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.dataset.images import write_grey, write_image
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.segmenters.ssp.checkpoint import save_ssp
from aligndiff.segmenters.ssp.network import SSP, SSPConfig
from scripts import mask_generation
from scripts.reporting import without_bars

REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = 4  # images of each entry


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A small SSP with random weights."""
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("ssp") / "random.safetensors"
        save_ssp(SSP(SSPConfig(width=2, blocks=(1, 1, 1))), path)
    return path


@pytest.fixture
def synthesized(dataset_dir: Path) -> Path:
    """The dataset with what step 2 leaves: images of a disc, heatmaps of it; the first is black."""
    bank = load_prompt_bank(dataset_dir)
    for number, entry in enumerate(bank.entries):
        place = EntryFolder(bank.root, entry)
        place.make()
        EntryRecord(entry.id, entry.type, entry.category, "", "", "", {}, "made").write(
            place.entry_json
        )
        for index in range(COUNT):
            add_sample(place, index, seed=10 * number + index)
    return dataset_dir


def add_sample(place: EntryFolder, index: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 120, (64, 64, 3), dtype=np.uint8)
    heatmap = np.zeros((64, 64), np.uint8)
    centre = tuple(int(value) for value in rng.integers(20, 44, 2))
    cv2.circle(image, centre, 14, (230, 120, 20), -1)
    cv2.circle(heatmap, centre, 14, 255, -1)
    write_image(place.image_path(index, "jpg"), image if index else np.zeros_like(image))
    write_grey(place.heatmap_path(index), heatmap)
    SampleRecord(index, seed, "synthesized", "jpg", "made").write(place.record_path(index))


def places(root: Path) -> list[EntryFolder]:
    bank = load_prompt_bank(root)
    return [EntryFolder(bank.root, entry) for entry in bank.entries]


def records(root: Path) -> list[SampleRecord]:
    return [
        SampleRecord.read(place.record_path(index))
        for place in places(root)
        for index in place.indices()
    ]


def outputs(root: Path) -> dict[str, bytes]:
    """Every file of step 3, by its path; names of unfinished files included."""
    found = [*(root / "synthesized").rglob("aligndiff_masks/*"), *root.rglob("samples/*")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def arguments(root: Path, checkpoint: Path, *more: str) -> list[str]:
    options = ["--dataset_dir", str(root), "--fss_ckpt_path", str(checkpoint)]
    return [*options, "--device", "cpu", *more]


def run(*argv: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "-m", "scripts.mask_generation", *argv]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)


def test_masks_records_table_and_sheet(synthesized, checkpoint, capsys):
    assert mask_generation.main(arguments(synthesized, checkpoint)) == 0
    segmenter, device, *lines = capsys.readouterr().out.splitlines()
    assert segmenter == f"segmenter: ssp, {checkpoint} (command line)"
    assert device.startswith("device: cpu (") and device.endswith(", 1 process")
    assert lines[0] == "masks" and lines[1].split() == [
        *("class", "consensus", "pseudo-label", "rejected", "failed", "mean", "IoU")
    ]
    assert [line.split()[0] for line in lines[2:5]] == ["fish", "albatross", "all"]
    assert sum(int(cell) for cell in lines[4].split()[1:4]) == 3 * COUNT
    assert lines[4].split()[4] == "0"
    sheet = synthesized / "sheets" / "3_masks.png"
    assert lines[-1] == f"contact sheet: {sheet}" and sheet.exists()

    for place in places(synthesized):
        for index in place.indices():
            record = SampleRecord.read(place.record_path(index))
            assert record.status in ("refined", "rejected")
            assert place.mask_path(index).exists() == (record.status == "refined")
        assert SampleRecord.read(place.record_path(0)).rejected_because == "the image is black"


def test_running_it_again_makes_nothing_new(synthesized, checkpoint, capsys):
    argv = arguments(synthesized, checkpoint)
    assert mask_generation.main(argv) == 0
    sheet = synthesized / "sheets" / "3_masks.png"  # drawn by every run, to be up to date
    files = [path for path in synthesized.rglob("*") if path.is_file() and path != sheet]
    before = {path: path.stat().st_mtime_ns for path in files}
    capsys.readouterr()
    assert mask_generation.main(argv) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before
    out = capsys.readouterr().out
    assert "nothing to do" in out and "contact sheet: " in out and "consensus" in out


def test_added_samples_redo_their_entry_alone(synthesized, checkpoint):
    argv = arguments(synthesized, checkpoint, "--no_sheet")
    mask_generation.main(argv)
    first, second, _ = places(synthesized)
    stamps = [place.record_path(1).stat().st_mtime_ns for place in (first, second)]
    add_sample(first, COUNT, seed=99)
    assert mask_generation.main(argv) == 0
    assert first.record_path(1).stat().st_mtime_ns != stamps[0]
    assert second.record_path(1).stat().st_mtime_ns == stamps[1]
    assert all(record.refinement for record in records(synthesized))
    assert not (synthesized / "sheets").exists()


def test_categories_choose_the_entries(synthesized, checkpoint):
    argv = arguments(synthesized, checkpoint, "--categories", "albatross", "--no_sheet")
    assert mask_generation.main(argv) == 0
    done = [record.refinement is not None for record in records(synthesized)]
    assert done == [False] * 2 * COUNT + [True] * COUNT


def test_other_settings_ask_for_overwrite_and_get_it(synthesized, checkpoint):
    mask_generation.main(arguments(synthesized, checkpoint, "--no_sheet"))
    before = outputs(synthesized)
    other = arguments(synthesized, checkpoint, "--no_sheet", "--consensus_iou_threshold", "0.5")
    with pytest.raises(InputError) as caught:
        mask_generation.main(other)
    assert len(caught.value.problems) == 3
    assert "consensus_iou_threshold was 0.8, now 0.5" in caught.value.problems[0]
    assert outputs(synthesized) == before
    assert mask_generation.main([*other, "--overwrite"]) == 0
    assert mask_generation.main(other) == 0
    assert outputs(synthesized) != before


def test_a_bad_checkpoint_costs_no_masks(synthesized, checkpoint, tmp_path):
    mask_generation.main(arguments(synthesized, checkpoint, "--no_sheet"))
    before = outputs(synthesized)
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"bad\.pth: refused"):
        mask_generation.main(arguments(synthesized, bad, "--overwrite"))
    assert outputs(synthesized) == before


def test_an_unreadable_image_ends_with_exit_code_1(synthesized, checkpoint, capsys):
    place = places(synthesized)[0]
    place.image_path(2, "jpg").write_bytes(b"broken")
    place.heatmap_path(3).unlink()
    argv = arguments(synthesized, checkpoint)
    assert mask_generation.main(argv) == 1
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in without_bars(captured.err)] == ["failed", "failed"]
    assert "image_000002.jpg: not a readable image" in captured.err
    assert "image_000003.png: no such file" in captured.err
    fish = next(line for line in captured.out.splitlines() if line.split()[0] == "fish")
    assert fish.split()[4] == "2"
    assert sum(record.refinement is None for record in records(synthesized)) == 2


def test_no_images_at_all_names_the_step_before(dataset_dir, checkpoint):
    with pytest.raises(InputError, match="run python -m scripts.diffuse_img_attention"):
        mask_generation.main(arguments(dataset_dir, checkpoint))


def test_entries_without_images_are_told_and_left_out(synthesized, checkpoint, capsys):
    place = places(synthesized)[1]
    place.entry_json.unlink()
    assert mask_generation.main(arguments(synthesized, checkpoint, "--no_sheet")) == 0
    assert "note: 1 of 3 entries have no images, left out" in capsys.readouterr().err


def test_without_a_checkpoint_one_line_offers_the_tiny_one(synthesized, monkeypatch):
    installed = "aligndiff.segmenters.features.extractors.efficientnet.is_installed"
    monkeypatch.setattr(installed, lambda: False)
    with pytest.raises(MissingWeightsError, match=r"photos.*PREPARE.md .*--fss_ckpt_path tiny"):
        mask_generation.main(["--dataset_dir", str(synthesized)])
    with pytest.raises(MissingWeightsError, match=r"PREPARE.md .*--fss_ckpt_path tiny"):
        mask_generation.main(["--dataset_dir", str(synthesized), "--segmenter", "ssp"])
    with pytest.raises(MissingWeightsError, match=r"no file .*none\.pth"):
        mask_generation.main(arguments(synthesized, Path("none.pth")))


def test_the_dataset_may_name_the_checkpoint(synthesized, checkpoint, capsys):
    path = synthesized / "dataset.json"
    bank = json.loads(path.read_text())
    path.write_text(json.dumps(bank | {"defaults": {"fss_ckpt_path": str(checkpoint)}}))
    assert mask_generation.main(["--dataset_dir", str(synthesized), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith(f"segmenter: ssp, {checkpoint} (dataset.json)")


def test_launched_processes_share_the_entries(synthesized, checkpoint, torchrun):
    done = []
    for rank in (1, 0):  # the first one tells of all of it
        torchrun(rank, 2)
        assert mask_generation.main(arguments(synthesized, checkpoint, "--no_sheet")) == 0
        done.append([record.refinement is not None for record in records(synthesized)])
    assert done[0] == [False] * COUNT + [True] * COUNT + [False] * COUNT
    assert all(done[1])


def test_torchrun_does_not_stop_the_others_when_a_sample_failed(synthesized, checkpoint):
    """It ends all processes when one ends with 1: none does before all are done and reported."""
    first, second, _ = places(synthesized)
    for index in range(COUNT, 40 * COUNT):  # the first process has forty times as much to do
        add_sample(first, index, seed=index)
    second.image_path(2, "jpg").write_bytes(b"broken")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    result = run(*arguments(synthesized, checkpoint), launcher=launcher)
    assert result.returncode == 1
    undone = [record.index for record in records(synthesized) if record.refinement is None]
    assert undone == [2] and "image_000002.jpg: not a readable image" in result.stderr
    table = [line.split() for line in result.stdout.splitlines() if line.startswith("  ")]
    assert [(row[0], row[4]) for row in table[1:]] == [
        ("fish", "1"),
        ("albatross", "0"),
        ("all", "1"),
    ]
    assert (synthesized / "sheets" / "3_masks.png").exists() and "stopped" not in result.stderr
    assert not [path for path in synthesized.iterdir() if path.name.startswith(".")]


def test_worker_processes_make_what_one_process_makes(synthesized, checkpoint, tmp_path):
    mask_generation.main(arguments(synthesized, checkpoint, "--no_sheet"))
    alone = outputs(synthesized)
    result = run(*arguments(synthesized, checkpoint, "--workers", "2", "--overwrite"))
    assert result.returncode == 0, result.stderr
    assert outputs(synthesized) == alone
    assert result.stdout.count("segmenter: ssp") == 1 and "contact sheet" in result.stdout


def test_a_failed_worker_reaches_the_exit_code(synthesized, checkpoint, monkeypatch, capsys):
    started = []

    def run_workers(module, argv, devices, units, retries, totals, activity, overwrites):
        started.append((module, argv[0], len(devices), units, retries, totals, overwrites))
        assert "--overwrite" not in argv
        return 1

    monkeypatch.setattr("aligndiff.runner.step.run_workers", run_workers)
    argv = arguments(synthesized, checkpoint, "--workers", "2", "--no_sheet", "--overwrite")
    assert mask_generation.main(argv) == 1
    totals = {"fish": 2 * 2 * COUNT, "albatross": 2 * COUNT}
    assert started == [("aligndiff", "mask_generation", 2, [[0, 2], [1]], 1, totals, True)]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["all", "0", "0", "0", str(3 * COUNT)] in [row[:5] for row in rows]


def test_wrong_usage_is_one_line_and_exit_code_2(synthesized):
    result = run("--dataset_dir", str(synthesized), "--consensus_iou_threshold", "2")
    assert result.returncode == 2
    assert result.stderr == "error: --consensus_iou_threshold: must be 0 to 1, is 2\n"


def test_help_needs_no_torch_and_names_the_thresholds():
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        "try: runpy.run_module('scripts.mask_generation', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    env = os.environ | {"COLUMNS": "200"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    for flag in ("consensus_iou", "foreground", "heatmap", "pseudo_label"):
        assert f"--{flag}_threshold" in result.stdout
    assert "(0 to 1; default: 0.8)" in result.stdout and "--fss_ckpt_path" in result.stdout


def test_thresholds_of_the_prompt_bank_give_way_to_the_command_line(synthesized, checkpoint):
    path = synthesized / "dataset.json"
    bank = json.loads(path.read_text())
    bank["defaults"] = {"heatmap_threshold": 0.6, "consensus_iou_threshold": 0.7}
    path.write_text(json.dumps(bank))
    argv = arguments(synthesized, checkpoint, "--no_sheet", "--heatmap_threshold", "0.3")
    assert mask_generation.main(argv) == 0
    written = json.loads(next(synthesized.rglob("refinement.json")).read_text())["settings"]
    assert (written["heatmap_threshold"], written["consensus_iou_threshold"]) == (0.3, 0.7)

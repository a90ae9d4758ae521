"""scripts.evaluate as a user runs it: its three uses, what they leave, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import read_image, write_mask
from scripts import evaluate
from tests.benchmark_data import draw_pascal
from tests.refined_samples import add_refined_samples, draw_test_pairs
from tests.scripts.conftest import command, told

TINY = ("--fss_ckpt_path", "tiny")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs main with an --output_dir of its own; returns what it says and the folder."""

    def run(*argv: object) -> tuple[str, Path]:
        output = tmp_path / "out"
        assert evaluate.main([*map(str, argv), "--output_dir", str(output)]) == 0
        return capsys.readouterr().out, output

    return run


def test_masks_against_truth(run, tmp_path: Path) -> None:
    truth = np.zeros((4, 4), bool)
    truth[:, :2] = True
    for category, said in (("cat", truth), ("dog", truth | (np.arange(4) < 3))):
        for folder in ("truth", "said"):
            (tmp_path / folder / category).mkdir(parents=True)
        write_mask(tmp_path / "truth" / category / "1.png", truth)
        write_mask(tmp_path / "said" / category / "1.png", said)
    out, output = run("masks", "--predicted", tmp_path / "said", "--truth", tmp_path / "truth")
    lines = [line.split() for line in out.splitlines()]
    assert ["cat", "1", "1.000"] in lines and ["dog", "1", "0.667"] in lines
    assert ["mIoU", "2", "0.833"] in lines
    assert ["FB-IoU", "2", f"{(12 / 16 + 16 / 20) / 2:.3f}"] in lines
    assert "HSNet's protocol" in out and "255 (ignore) count nowhere" in out
    found = json.loads((output / "masks.json").read_text())
    assert found["miou"] == pytest.approx(5 / 6)
    assert [image["name"] for image in found["images"]] == ["cat/1", "dog/1"]


def test_a_benchmark_whole_and_again_with_another_batch(run, tmp_path: Path) -> None:
    root = draw_pascal(tmp_path, with_list=False)
    options = (
        "benchmark",
        "--benchmark",
        "pascal",
        "--data_dir",
        root,
        "--episodes",
        6,
        "--shot",
        2,
        *TINY,
    )
    out, output = run(*options, "--seed", 3)
    assert "PASCAL-5i, fold 0, 2-shot, 6 episodes, images and truth squeezed to 400 x 400" in out
    found = json.loads((output / "pascal_fold0_2shot.json").read_text())
    assert found["settings"]["benchmark"] == "pascal" and found["settings"]["seed"] == 3
    assert 0.3 < found["miou"] <= 1 and len(found["images"]) == 6
    assert read_image(output / "pascal_fold0_2shot.png").shape[2] == 3
    assert len((output / "splits" / "pascal" / "val" / "fold0.txt").read_text().split()) == 15

    splits = ("--splits_dir", output / "splits", "--no_sheet")
    _, output = run(*options, "--seed", 3, "--batch_size", 1, *splits)
    again = json.loads((output / "pascal_fold0_2shot.json").read_text())
    asked = [(image["name"], image["support"]) for image in found["images"]]
    assert asked == [(image["name"], image["support"]) for image in again["images"]]
    assert again["miou"] == pytest.approx(found["miou"], abs=1e-3)


def test_masks_are_compared_as_step_3_makes_them(run, tmp_path: Path) -> None:
    root = draw_pascal(tmp_path / "data")
    options = ("benchmark", "--benchmark", "pascal", "--data_dir", root, "--episodes", 5, *TINY)
    masks = ("--refine_edges", "guided", "--regions", "object", "--no_sheet")
    plain, output = run(*options, "--shot", 2, "--no_sheet")
    own = json.loads((output / "pascal_fold0_2shot.json").read_text())
    out, _ = run(*options, "--shot", 2, *masks)
    assert "400 px, the segmenter's own masks" in plain
    assert "400 px, masks with edges: guided, regions: object" in out
    found = json.loads((output / "pascal_fold0_2shot.json").read_text())
    assert (found["settings"]["refine_edges"], found["settings"]["regions"]) == ("guided", "object")
    assert own["settings"]["refine_edges"] == "none" and found["miou"] > own["miou"] + 0.05


def test_segmenters_are_compared_in_one_table(run, dataset_dir: Path, tmp_path: Path) -> None:
    root = draw_pascal(tmp_path / "data")
    options = ("benchmark", "--benchmark", "pascal", "--data_dir", root, "--episodes", 5, *TINY)
    out, output = run(*options, "--side", 64, "--segmenter", "ssp,features:tiny", "--no_sheet")
    lines = [line.split() for line in out.splitlines()]
    compared = lines[lines.index(["segmenter", "weights", "mIoU", "FB-IoU"]) :]
    assert [line[:2] for line in compared[-2:]] == [["ssp", "tiny"], ["features", "tiny"]]
    for label in ("ssp", "features"):
        figures = json.loads((output / f"pascal_fold0_1shot_{label}.json").read_text())
        assert figures["miou"] > 0.2 and len(figures["images"]) == 5

    add_refined_samples(dataset_dir, 2)
    draw_test_pairs(tmp_path / "tests", ("fish", "albatross"), 2)
    support = ("support", "--synthetic", dataset_dir, "--test_dir", tmp_path / "tests", *TINY)
    few = ("--counts", 0, "--draws", 1, "--resamples", 100, "--no_sheet")
    out, output = run(*support, *few, "--segmenter", "features:tiny,ssp")
    assert "mIoU with each segmenter" in out
    assert (output / "gain_features.json").exists() and (output / "gain_ssp.png").exists()


def test_what_synthetic_support_adds(run, dataset_dir: Path, tmp_path: Path) -> None:
    add_refined_samples(dataset_dir, 3)
    draw_test_pairs(tmp_path / "tests", ("fish", "albatross"), 4)
    options = ("support", "--synthetic", dataset_dir, "--test_dir", tmp_path / "tests", *TINY)
    out, output = run(*options, "--counts", 0, 2, "--draws", 2, "--resamples", 100)
    assert "Support is compared here, no network is trained" in out
    rows = {words[0]: words for words in map(str.split, out.splitlines()) if words}
    assert rows["fish"][1:4] == ["4", "3", "6"] and "  mIoU           8     6          9" in out
    found = json.loads((output / "gain.json").read_text())
    assert [point["samples"] for point in found["curve"]] == [0, 2, 6]
    assert found["rows"][0]["with_all"] > 0.5
    assert read_image(output / "gain.png").shape == (380, 680, 3)
    assert (output / "gain_masks.png").exists()
    first = (output / "gain.json").read_bytes()
    run(*options, "--counts", 0, 2, "--draws", 2, "--resamples", 100)
    assert (output / "gain.json").read_bytes() == first


MISTAKES = [
    ("", "python -m scripts.evaluate: which of masks, benchmark, support, gain? (see --help)"),
    ("mask --predicted a", "unknown command mask, did you mean masks?"),
    ("--predicted a --truth b", "unknown argument --predicted"),
    ("masks --predicted a", "the following arguments are required: --truth"),
    ("support --synthetic a --test_dir b --fold 1", "unknown argument --fold"),
    ("benchmark --benchmark pascal --data_dir a --fold 10", "--fold: must be 0 to 9, is 10"),
    (
        "benchmark --benchmark pascal --data_dir a --fold 4 --fss_ckpt_path tiny",
        "--fold 4: PASCAL-5i has folds 0 to 3",
    ),
    ("benchmark --benchmark pascal --data_dir a --shot 0", "--shot: must be 1 to 100000, is 0"),
    ("benchmark --benchmark pascal --data_dir a --episodes -1", "--episodes: must be 0 to 100000"),
    ("benchmark --benchmark pascal --data_dir a --side 3", "--side: must be 0, or 16 px or more"),
    ("benchmark --benchmark pascal --data_dir a --side 9999", "--side: must be 0 to 8192 px, is"),
    ("benchmark --benchmark pascal --data_dir a --seed -1", "--seed: must be 0 to"),
    ("benchmark --benchmark pascal --data_dir a", "a/VOC2012/JPEGImages: no such folder; it holds"),
    (
        "benchmark --benchmark pascal --data_dir a --segmenter ssp",
        "no segmenter checkpoint: give --fss_ckpt_path",
    ),
    ("benchmark --benchmark fss --data_dir a --segmenter ssp,none", "must be one of auto, ssp"),
    (
        "benchmark --benchmark fss --data_dir a --edge_model b",
        "--edge_model: --refine_edges none has no weights; leave it out",
    ),
    (
        "support --synthetic a --test_dir b --refine_edges sam",
        "--refine_edges sam: name its weights, --edge_model FOLDER or a hub name",
    ),
    ("benchmark --benchmark voc --data_dir a", "choose from 'pascal', 'coco', 'fss'"),
    (
        "benchmark --benchmark coco --data_dir a --fss_ckpt_path tiny",
        "COCO2014/val2014: no such folder; it",
    ),
    ("support --synthetic a --test_dir b --batch_size 0", "--batch_size: must be 1 to 1024, is 0"),
    ("masks --predicted a --truth b --seed 3", "unknown argument --seed"),
    ("masks --predicted a --truth b", "a: no such folder; --predicted is a folder of PNG masks"),
    (
        "masks --predicted a --truth b --output_di c",
        "unknown argument --output_di, did you mean --output_dir?",
    ),
    ("support --synthetic a --test_dir b --draws 0", "--draws: must be 1 to 100000, is 0"),
    ("support --synthetic a --test_dir b --resamples 9", "--resamples: must be 100 to 100000, is"),
    (
        "support --synthetic a --test_dir b --support_weight 1",
        "--support_weight: must be above 0, below 1, is 1",
    ),
    ("support --synthetic a --test_dir b", "a: no such folder; --dataset_dir is the folder that"),
]


@pytest.mark.parametrize(("typed", "line"), MISTAKES)
def test_a_mistake_gets_one_line(
    typed: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        evaluate.main(typed.split())
    assert any(line in problem for problem in error.value.problems), error.value.problems
    assert list(tmp_path.iterdir()) == []


def test_mistakes_and_help_do_not_wait_for_torch(tmp_path: Path) -> None:
    done = command("evaluate", "--help")
    assert done.returncode == 0
    assert all(use in done.stdout for use in ("masks", "benchmark", "support"))
    done = command("evaluate", "support", "--help")
    assert done.returncode == 0 and "--synthetic" in done.stdout
    done = command(
        "evaluate", "benchmark", "--benchmark", "fss", "--data_dir", str(tmp_path), *TINY
    )
    assert done.returncode == 2 and "FSS-1000: no such folder" in told(done.stderr)[0]


GAIN = ("--steps", 2, "--few_shot_steps", 1, "--batch_size", 4, "--side", 32, "--draws", 1)
GAIN += ("--choosing_draws", 1, "--counts", 2, "--device", "cpu", "--precision", "float32", *TINY)


def test_the_gain_whole_then_half_of_it_again_by_workers(
    run, dataset_dir: Path, tmp_path: Path
) -> None:
    """What was killed goes on; the same table comes whoever trained, in whatever order."""
    add_refined_samples(dataset_dir, 3)
    draw_test_pairs(tmp_path / "tests", ("fish", "albatross"), 3)
    options = ("gain", "--dataset_dir", dataset_dir, "--test_dir", tmp_path / "tests", *GAIN)
    options += ("--recipes", "usual", "strong_paste")
    out, output = run(*options, "--workers", 1)
    assert "fish: 3 real, 6 samples, 3 tests" in out
    assert "trainings of 2 steps: about 1 minutes here, in 1 process" in out
    assert "mIoU on validation; * the recipe that is taken" in out and "best of all" in out
    first = json.loads((output / "gain.json").read_text())
    assert {line["category"] for line in first["comparisons"]} == {"fish", "albatross", "mean"}
    assert all(0 <= line["without"] <= 1 for line in first["comparisons"])
    assert [point["samples"] for point in first["curve"]] == [0, 2, 6]
    assert first["classes"]["fish"] == {"real": 3, "samples": 6, "tests": 3, "validation": 0}
    assert read_image(output / "gain.png").shape == (380, 680, 3)
    assert (output / "gain_batches.png").exists()
    records = sorted((output / "trainings").iterdir())
    finals = [path for path in records if not json.loads(path.read_text())["unit"]["held_out"]]
    for path in finals[::2]:
        path.unlink()
    (output / "gain.json").unlink()
    _, output = run(*options, "--workers", 2, "--no_sheet")
    assert json.loads((output / "gain.json").read_text()) == first
    assert sorted((output / "trainings").iterdir()) == records


def test_the_gain_by_leave_out_says_what_it_is_worth(
    run, dataset_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_refined_samples(dataset_dir, 2)
    options = ("gain", "--dataset_dir", dataset_dir, *GAIN, "--recipes", "usual", "few_shot_paste")
    options += ("--categories", "fish", "--folds", 2, "--workers", 1, "--no_sheet")
    evaluated, output = run(*options)
    assert "fish: 3 real, 4 samples, tested by leave-out" in evaluated
    (line, *_) = json.loads((output / "gain.json").read_text())["comparisons"]
    assert (line["category"], line["tests"], line["real_recipe"]) == ("fish", 3, "usual")


def test_mistakes_of_the_gain_are_told_before_anything_is_loaded(
    dataset_dir: Path, tmp_path: Path
) -> None:
    base = ["gain", "--dataset_dir", str(dataset_dir)]
    with pytest.raises(InputError, match="no fish has a mask of the wanted kind"):
        evaluate.main(base)
    add_refined_samples(dataset_dir, 1)
    (tmp_path / "none").mkdir()
    for typed, problem in (
        (["--test_dir", str(tmp_path / "nowhere")], "nowhere: no such folder"),
        (["--test_dir", str(tmp_path / "none")], "fish: no such folder; put the held-out"),
        (["--test_dir", str(dataset_dir)], "is .*1.jpg as well; test and choose on images held"),
        (["--backgrounds", str(tmp_path / "none")], "none"),
        (["--model", str(tmp_path / "none")], "has no config.json; give a folder"),
        (["--model", str(dataset_dir / "dataset.json")], "no weights of the small U-Net"),
        (["--steps", "0"], "--steps: must be 1 to"),
    ):
        with pytest.raises(InputError, match=problem):
            evaluate.main([*base, *typed])

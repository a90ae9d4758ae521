"""The measurement: its figures by hand, its table, its pictures, and the whole flow once."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch

from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.dataset.images import read_image
from aligndiff.dataset.prompt_bank import load_prompt_bank
from scripts.reporting import Circumstances, Line, Report, Target, cells
from scripts.tiny_world.measure import runs as measure_runs
from scripts.tiny_world.measure.__main__ import main
from scripts.tiny_world.measure.datasets import _any_look, make_objects, make_plain
from scripts.tiny_world.measure.gain import ArmFigures, GainFindings
from scripts.tiny_world.measure.judge import Judge, JudgeAccuracy, JudgeVerdict, save_judge
from scripts.tiny_world.measure.lines import (
    COLUMNS,
    gain_lines,
    judge_lines,
    look_lines,
    mask_lines,
    no_gain_line,
    show,
    without_targets,
)
from scripts.tiny_world.measure.plots import findings_plot, gain_curves
from scripts.tiny_world.measure.report import Findings, LastSentence
from scripts.tiny_world.measure.runs import FULL, QUICK, Scripts
from scripts.tiny_world.measure.samples import (
    JudgedSample,
    LookFigures,
    MaskFigures,
    look_figures,
    mask_figures,
    overlap,
    plain_figures,
)
from scripts.tiny_world.measure.sheet import SheetGroup, judged_sheet
from scripts.tiny_world.world.example import EXAMPLES, resembles_an_example
from scripts.tiny_world.world.shapes import SHAPES

SIDE = 16


def block(columns: int) -> np.ndarray:
    """A mask of the first columns."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, :columns] = True
    return mask


def verdict(category: str = "fish", columns: int = 8, **worn: str | None) -> JudgeVerdict:
    look = {"kind": "reef", "texture": "striped", "colour": "orange", "second": "white"} | worn
    mask = block(columns)
    return JudgeVerdict(category=category, mask=mask, foreground=mask, **look)  # type: ignore[arg-type]


def sample(
    judged: JudgeVerdict, columns: int | None = None, source: str | None = None
) -> JudgedSample:
    """Of a prompt for a fish, with a mask of the first columns."""
    return JudgedSample(
        category="fish",
        folder="fish",
        index=0,
        image=np.full((SIDE, SIDE, 3), 90, np.uint8),
        heatmap=(block(4) * 255).astype(np.uint8),
        mask=None if columns is None else block(columns),
        source=source,  # type: ignore[arg-type]
        verdict=judged,
    )


def test_overlap_by_hand() -> None:
    assert overlap(block(4), block(8)) == pytest.approx(0.5)
    assert overlap(block(0), block(0)) == 0


def test_plain_figures_count_heatmaps_of_recognised_images_alone() -> None:
    samples = [sample(verdict()), sample(verdict(columns=4)), sample(verdict("car"))]
    figures = plain_figures("fish", [*samples, sample(verdict(columns=0))], 0.5)
    assert figures.recognised == pytest.approx(2 / 4)  # nothing found is not recognised either
    assert figures.heatmap_iou == pytest.approx((0.5 + 1.0) / 2)
    assert plain_figures("none", [], 0.5).recognised is None


def test_look_figures_want_category_texture_and_both_colours() -> None:
    samples = [
        sample(verdict()),
        sample(verdict("car")),  # the look on another object does not count
        sample(verdict(texture="banded")),
        sample(verdict(colour="red")),
    ]
    figures = look_figures("learned", samples)
    assert (figures.recognised, figures.look) == (0.75, 0.25)
    assert (figures.colours, figures.texture) == (0.5, 0.5)


def test_mask_figures_by_hand() -> None:
    samples = [
        sample(verdict(), 8, "consensus"),
        sample(verdict(), 4, "pseudo_label"),
        sample(verdict(columns=0), 4, "pseudo_label"),  # kept, though the judge sees no fish
        sample(verdict()),  # rejected
    ]
    figures = mask_figures("all", samples)
    assert (figures.images, figures.kept, figures.consensus) == (4, 3, 1)
    assert figures.kept_iou == pytest.approx((1 + 0.5 + 0) / 3)
    assert figures.consensus_iou == 1
    assert figures.consensus_share == 0.25
    assert mask_figures("none", samples[1:]).consensus_iou is None


def test_targets_and_the_words_of_a_table() -> None:
    assert Target(0.9).holds(0.9) and not Target(0.9).holds(0.89)
    assert Target(0.15, "at most").holds(0.15) and not Target(0.15, "at most").holds(0.2)
    assert not Target(0.9).holds(None)
    assert show(0.9351, "share") == "93.5 %" and show(0.87, "iou") == "0.870"
    lines = [
        Line("1", "seen", 0.95, "share", 120, Target(0.9)),
        Line("3", "heat", 0.4, "iou", 9, Target(0.6)),
        Line("5", "gain", 11.26, "points", 3, Target(10.0), spread=(9.0, 12.54)),
        Line("6", "told", None, "iou", 0),
    ]
    assert [cells(COLUMNS, line) for line in lines] == [
        ("1", "seen", "95.0 %", "", "at least 90 %", "yes", "120"),
        ("3", "heat", "0.400", "", "at least 0.6", "NO", "9"),
        ("5", "gain", "11.3 points", "9.0 to 12.5", "at least 10 points", "yes", "3"),
        ("6", "told", "-", "", "", "", "0"),
    ]


def test_the_targets_are_those_of_the_plan() -> None:
    accuracy = JudgeAccuracy(category=0.98, kind=0.92, look=0.9, foreground_iou=0.94)
    assert [line.holds for line in judge_lines(accuracy, 400)] == [True, True, None, False]
    fish = [sample(verdict(), 8, "consensus")]
    looks = look_lines(look_figures("word", fish), look_figures("learned", fish))
    assert [line.holds for line in looks[:2]] == [False, True]
    assert [line.holds for line in mask_lines(mask_figures("all", fish))] == [True] * 3
    assert [line.holds for line in without_targets(looks)] == [None] * len(looks)


def gain_findings() -> GainFindings:
    """Three draws: 20, 30 and 10 points in company; true pairs add twice as much."""

    def figures(arm: str, *company: float, samples: int = 100) -> ArmFigures:
        return ArmFigures(arm, "paste", samples, {"company": company, "alone": (0.7, 0.8, 0.9)})

    arms = {
        "real": figures("real", 0.4, 0.5, 0.6, samples=0),
        "synthetic": figures("synthetic", 0.6, 0.8, 0.7),
        "true": figures("true", 0.8, 0.9, 1.0),
    }
    curve = [figures("synthetic", 0.5, 0.7, samples=20), arms["synthetic"]]
    both = {"company": arms, "alone": arms}
    few = figures("few prompts", 0.5, 0.6, 0.7, samples=60)
    prompts = [figures("synthetic", 0.6, 0.8, 0.7, samples=60), few]
    return GainFindings(both, arms, [figures("heatmaps", 0.5, 0.6, 0.7)], curve, prompts)


def test_gain_lines_compare_draw_by_draw() -> None:
    lines = gain_lines(gain_findings(), 100)
    gain, lowest, share, alone, least = lines[:5]
    assert gain.value == pytest.approx(20) and gain.spread == pytest.approx((10, 30))
    assert lowest.value == pytest.approx(10) and share.value == pytest.approx(20 / 40)
    assert (gain.holds, lowest.holds, share.holds) == (True, True, False)
    assert alone.value == pytest.approx(0) and least.holds is True
    words = [line.what for line in lines]
    by_prompts = lines[words.index("gain of many prompts over few, in company")]
    assert by_prompts.value == pytest.approx(10) and by_prompts.spread == pytest.approx((0, 20))
    assert "60 samples: few prompts (paste), company" in words
    assert "best recipe: synthetic (paste), company" in words
    assert "heatmaps (paste), alone" in words and "20 samples: synthetic (paste), company" in words
    assert no_gain_line().holds is False


def test_the_closing_words_tell_what_kind_of_run_it_was() -> None:
    lines = [Line("1", "seen", 0.95, "share", 1, Target(0.9)), Line("6", "told", 0.1, "share", 1)]
    end = LastSentence(quick=False, continued=False, seconds={"one": 60.0, "other": 30.0})
    assert end(lines, 1.5) == "1 of 1 targets hold; 1.5 minutes (one 60 s, other 30 s)"
    assert "continued an earlier one" in replace(end, continued=True)(lines, 1.5)
    assert replace(end, quick=True, continued=True)(lines, 1.5) == (
        "quick run: its figures mean nothing, and no target is judged; 1.5 minutes in this run, "
        "which continued an earlier one (one 60 s, other 30 s)"
    )
    where = Circumstances("python -m x", "2026-01-31", None, "2 cores of a kind", {"torch": "2"})
    written = Report("the measurement", "measure", COLUMNS, where, end).markdown(lines, 1.5)
    assert "| 1 | seen | 95.0 % |  | at least 90 % | yes | 1 |" in written
    assert "2026-01-31; 2 cores of a kind; torch 2\n" in written and "one 60 s" in written


def test_a_script_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    """By the real command, in a process of its own: its folder has no dataset.json."""
    scripts = Scripts(tmp_path / "logs", 0, "tiny", "tiny")
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError) as caught:
        scripts.refine(tmp_path / "data")
    (problem,) = caught.value.problems
    assert problem.startswith("mask_generation ended with exit code 2: error: ")
    assert (
        "dataset.json: no such file" in problem and str(tmp_path / "logs" / "data.log") in problem
    )


def test_a_bug_in_a_script_is_no_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_runs, "run_module", lambda *_: 1)
    with pytest.raises(AlignDiffError) as caught:
        Scripts(tmp_path, 0, "tiny", "tiny").draw(tmp_path / "data")
    assert caught.value.exit_code == 1


def test_datasets_are_good_and_the_same_each_time(tmp_path: Path) -> None:
    for make in (make_plain, make_objects):
        make(tmp_path / "one")
        make(tmp_path / "two")
        first, second = load_prompt_bank(tmp_path / "one"), load_prompt_bank(tmp_path / "two")
        assert [entry.id for entry in first.entries] == [entry.id for entry in second.entries]
        files = sorted(path.relative_to(tmp_path / "one") for path in tmp_path.glob("one/*/*"))
        assert all(
            (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
            for file in files
        )
    assert first.categories == list(EXAMPLES)
    assert not any(resembles_an_example(_any_look(seed)) for seed in range(40))


def test_plots_of_the_findings_that_there_are() -> None:
    assert findings_plot(Findings()) is None
    gain = gain_findings()
    (curve,) = gain_curves(gain).values()
    assert list(curve.x) == [0, 20, 100]
    # Where samples are counted on two draws, so is what there is without them.
    assert curve.values == pytest.approx([0.45, 0.6, 0.7]) and list(curve.high) == [0.5, 0.7, 0.8]
    looks = [LookFigures(name, 4, 1.0, look, 0.5, 0.5) for name, look in (("0", 0.5), ("1", None))]
    masks = [MaskFigures(look.name, 4, 4, 2, 0.9, None, 0.5) for look in looks]
    swept = Findings(swept_looks=looks, swept_masks=masks)
    both = findings_plot(Findings(gain=gain, swept_looks=looks, swept_masks=masks))
    one = findings_plot(swept)
    assert both is not None and one is not None
    assert both.shape == (one.shape[0], 2 * one.shape[1], 3)
    assert (both[:, one.shape[1] :] == one).all()


def test_sheet_of_no_samples_and_of_three() -> None:
    three = [sample(verdict(), 8, "consensus"), sample(verdict()), sample(verdict("car"))]
    sheet = judged_sheet([SheetGroup("some", three, "abc"), SheetGroup("none", [], [])])
    one = judged_sheet([SheetGroup("some", three[:1], "a")])
    assert sheet.shape[0] > one.shape[0] and sheet.shape[1] == one.shape[1]
    assert judged_sheet([]).shape[2] == 3


def in_this_process(module: str, words: list[str], output: IO[str]) -> int:
    """Instead of a process of its own, which would take seconds to import the libraries."""
    output.write(f"{module}\n")
    return int(importlib.import_module(module).main(words))


def test_quick_run_from_nothing_to_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the bundled models and a judge that has learned nothing: the flow, not the figures."""
    monkeypatch.setattr(measure_runs, "run_module", in_this_process)
    torch.manual_seed(0)
    save_judge(Judge(), tmp_path / "judge.safetensors")
    typed = ["--quick", "--judge", str(tmp_path / "judge.safetensors"), "--work_dir"]
    assert main([*typed, str(tmp_path / "work"), "--strict"]) == 0  # no target, so none is missed
    printed = capsys.readouterr().out
    assert "quick run: its figures mean nothing" in printed
    found = json.loads((tmp_path / "work" / "measure.json").read_text())
    assert {line["group"] for line in found["lines"]} == set("-123456789")
    assert all(line["holds"] is None and line["target"] is None for line in found["lines"])
    assert [row["name"] for row in found["categories"]] == list(SHAPES)
    assert [row["name"] for row in found["swept_masks"]] == ["0", "0.6"]
    assert not found["continued"] and found["quick"]
    assert "| line | what |" in (tmp_path / "work" / "measure.md").read_text()
    assert read_image(tmp_path / "work" / "measure.png").shape[1] == 2 * 680
    assert read_image(tmp_path / "work" / "judged.png").any()

    log = (tmp_path / "work" / "logs" / "plain.log").read_text()
    assert main([*typed, str(tmp_path / "work"), "--lines", "1", "3"]) == 0
    assert "continued an earlier one" in capsys.readouterr().out
    assert len((tmp_path / "work" / "logs" / "plain.log").read_text()) > len(log)


def test_another_sampler_reaches_step_2_and_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_runs, "run_module", in_this_process)
    sampler = ["--scheduler", "pndm", "--num_inference_steps", "3"]
    assert main(["--quick", "--lines", "1", "--work_dir", str(tmp_path), *sampler]) == 0
    (entry, *others) = (tmp_path / "plain" / "synthesized").glob("*/entry.json")
    assert len(others) == len(SHAPES) - 1
    reported = json.loads((tmp_path / "measure.json").read_text())["settings"]
    for settings in (json.loads(entry.read_text())["settings"], reported):
        assert (settings["scheduler"], settings["num_inference_steps"]) == ("pndm", 3)


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        (["--lines", "10"], "invalid choice: 10"),
        (["--qick"], "did you mean --quick"),
        (["--judge", "nowhere.safetensors"], "nowhere.safetensors: no such file"),
    ],
)
def test_mistakes_on_the_command_line(typed: list[str], problem: str, tmp_path: Path) -> None:
    # Quick and elsewhere: what is a mistake today may be an option tomorrow, and would run.
    with pytest.raises(InputError, match=problem):
        main([*typed, "--quick", "--work_dir", str(tmp_path)])
    assert not [*tmp_path.iterdir()]


def test_quick_is_smaller_in_everything() -> None:
    for name in ("plain_images", "word_images", "learned_images", "swept_steps"):
        assert getattr(QUICK, name) < getattr(FULL, name)
    for name in ("draws", "samples", "most", "company", "alone", "validation", "steps"):
        assert getattr(QUICK.gain, name) < getattr(FULL.gain, name)
    assert FULL.gain.samples in FULL.gain.counts and max(FULL.gain.counts) == FULL.gain.most
    assert FULL.gain.told_draws <= FULL.gain.draws >= 5

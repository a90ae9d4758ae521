"""The measurement of step 1's options: its arms, the spread of grounds by hand, a run of an arm."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from scripts.tiny_world.measure.inversion import (
    ARMS,
    InversionMeasure,
    Training,
    compared_arms,
    figure_lines,
    main,
    spread_of_grounds,
    student_interval,
)


@dataclass(frozen=True)
class Verdict:
    foreground: np.ndarray


@dataclass(frozen=True)
class Sample:
    """An image of one grey level around an object of another."""

    grey: int
    image: np.ndarray = field(init=False)
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        foreground = np.zeros((4, 4), bool)
        foreground[1:3, 1:3] = True
        image = np.full((4, 4, 3), self.grey, np.uint8)
        image[foreground] = 255 - self.grey
        object.__setattr__(self, "image", image)
        object.__setattr__(self, "verdict", Verdict(foreground))


def test_spread_of_grounds_is_of_what_is_no_object() -> None:
    wide: Any = [Sample(grey) for grey in (0, 51)]
    narrow: Any = [Sample(grey) for grey in (100, 100)]
    assert spread_of_grounds(wide) == pytest.approx(0.1)
    assert spread_of_grounds(narrow) == 0


def test_arms_differ_by_their_options() -> None:
    assert len({arm.name for arm in ARMS}) == len({arm.options for arm in ARMS}) == len(ARMS)
    method, crop = compared_arms(InversionMeasure(arms=("method", "crop"), steps=7))
    assert method.options[:4] == ("--inversion_steps", "7", "--gradient_accumulation", "2")
    assert crop.options == (*method.options, "crop")


def test_an_arm_is_compared_training_by_training() -> None:
    looks = {("method", 0): 0.5, ("method", 1): 0.7, ("crop", 0): 0.6, ("crop", 1): 0.7}
    looks |= {("method", 2): 0.9, ("scale", 0): None, ("crop", 3): 0.2}  # of no pair
    trainings = [Training(arm, seed, "fish", {"look": look}) for (arm, seed), look in looks.items()]
    method, crop = figure_lines("fish", "look", trainings)
    assert (method.value, method.spread, method.n) == (pytest.approx(0.7), None, 3)
    assert (crop.value, crop.n) == (pytest.approx(0.5), 3)
    # Differences 0.1 and 0: mean 0.05, its standard error 0.05, and t of one degree is 12.71.
    assert crop.spread == pytest.approx((0.05 - 0.6355, 0.05 + 0.6355))
    assert student_interval([0.1]) is None


def in_this_process(module: str, words: list[str], output: IO[str]) -> int:
    """The same command, without the seconds that a process of its own takes to start."""
    with redirect_stdout(output):
        code: int = import_module(module).main(words)
    return code


def test_a_run_of_two_arms_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.tiny_world.measure.runs.run_module", in_this_process)
    words = [
        "--arms",
        "method",
        "no_flip",
        "--seeds",
        "3",
        "--steps",
        "2",
        "--images",
        "2",
        "--accumulation",
    ]
    words += ["1", "--work_dir", str(tmp_path)]
    assert main(words) == 0
    lines = json.loads((tmp_path / "inversion.json").read_text())["lines"]
    values = {line["what"]: line["value"] for line in lines if line["group"] == "both objects"}
    assert values["steps: method"] == values["steps: no_flip"] == 2
    assert {"look: no_flip", "recognised: method", "heatmap IoU: method"} <= values.keys()
    judged = tmp_path / "seed_3" / "no_flip" / "judged.json"
    figures = json.loads(judged.read_text())
    figures["fish"]["look"] = figures["mushroom"]["look"] = 0.25
    judged.write_text(json.dumps(figures))
    assert main(words) == 0, "what was judged is read"
    lines = json.loads((tmp_path / "inversion.json").read_text())["lines"]
    assert {line["value"] for line in lines if line["what"] == "look: no_flip"} == {0.25}

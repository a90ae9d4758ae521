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
    grounds_ratio,
    main,
    part_arms,
)


@dataclass(frozen=True)
class Verdict:
    foreground: np.ndarray


@dataclass(frozen=True)
class Sample:
    """An image of one grey level around an object of another."""

    grey: int
    category: str = "fish"
    image: np.ndarray = field(init=False)
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        foreground = np.zeros((4, 4), bool)
        foreground[1:3, 1:3] = True
        image = np.full((4, 4, 3), self.grey, np.uint8)
        image[foreground] = 255 - self.grey
        object.__setattr__(self, "image", image)
        object.__setattr__(self, "verdict", Verdict(foreground))


def test_spread_of_grounds_against_the_first_arms() -> None:
    wide: Any = [Sample(grey) for grey in (0, 40, 80, 120)]
    narrow: Any = [Sample(grey) for grey in (100, 120, 140, 160)]
    ratio, (low, high) = grounds_ratio(narrow, wide)
    assert ratio == pytest.approx(0.5) and low == pytest.approx(high) == pytest.approx(-0.5)
    other: Any = [Sample(grey) for grey in (160, 100, 140, 120)]
    ratio, (low, high) = grounds_ratio(other, wide)
    assert ratio == pytest.approx(0.5) and low < -0.5 < high


def test_arms_differ_from_the_default_by_one_option() -> None:
    assert len({arm.name for arm in ARMS}) == len({arm.options for arm in ARMS}) == len(ARMS)
    default, crop = part_arms(InversionMeasure(arms=("crop",), steps=7), "options")
    assert default.options == ("--inversion_steps", "7", "--gradient_accumulation", "2")
    assert crop.options == (*default.options, "--augment", "flip", "crop")
    whole, few = part_arms(InversionMeasure(patience=3, patience_steps=9), "patience")
    assert few.options == (*whole.options, "--patience", "3")


def in_this_process(module: str, words: list[str], output: IO[str]) -> int:
    """The same command, without the seconds that a process of its own takes to start."""
    with redirect_stdout(output):
        code: int = import_module(module).main(words)
    return code


def test_a_run_of_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.tiny_world.measure.runs.run_module", in_this_process)
    words = ["--parts", "options", "--arms", "default", "--steps", "2", "--images", "2"]
    assert main([*words, "--accumulation", "1", "--work_dir", str(tmp_path)]) == 0
    lines = json.loads((tmp_path / "inversion.json").read_text())["lines"]
    values = {line["what"]: line["value"] for line in lines}
    assert values["steps: default"] == 4, "of both objects"
    assert values["grounds: default"] == 1 and "seconds: default" in values
    assert {"look: default", "recognised: default", "heatmap IoU: default"} <= values.keys()

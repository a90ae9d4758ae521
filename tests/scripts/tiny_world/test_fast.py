"""The measurement of fewer calls: its comparison by hand, and a run of a few images."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.tiny_world.measure.fast import DRAWING, compared, interval, learning_arms, main


@dataclass(frozen=True)
class Seen:
    value: float | None


def test_differences_are_taken_image_by_image() -> None:
    samples: Any = {
        "method": [Seen(0.5), Seen(0.25), Seen(None), Seen(1.0)],
        "fast": [Seen(0.75), Seen(None), Seen(0.5), Seen(1.0)],
    }
    first, second = compared("drawing", samples, {"IoU": lambda sample: sample.value})  # type: ignore
    assert (first.what, first.n, first.spread) == ("IoU: method", 3, None)
    assert first.value == pytest.approx(1.75 / 3) and second.value == pytest.approx(2.25 / 3)
    assert second.n == 3 and second.spread is not None
    assert sum(second.spread) / 2 == pytest.approx(0.125), "of the two images that both have"


def test_interval_of_a_mean() -> None:
    low, high = interval([0.0, 0.2, 0.1, 0.1])
    assert (low + high) / 2 == pytest.approx(0.1)
    assert high - low == pytest.approx(2 * 1.96 * (0.02 / 3) ** 0.5 / 2)
    assert interval([0.3]) == (0.3, 0.3)


def test_arms_differ_in_one_thing_each() -> None:
    assert [arm.options[1] for arm in DRAWING] == ["method", "fast", "fast"]
    full, half, middle = learning_arms(500)
    assert half.options == ("--inversion_steps", "250")
    assert middle.options == (*half.options, "--timestep_range", "250", "750")


def test_a_run_of_a_few_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--parts", "learning", "--steps", "2", "--learned_images", "1", "--seeds", "1"]
    assert main([*words, "--work_dir", str(tmp_path)]) == 0
    lines = json.loads((tmp_path / "fast.json").read_text())["lines"]
    assert len(lines) == 2 * 2 * 3  # objects, figures, arms
    assert {line["n"] for line in lines} == {1}
    assert "| learning, fish | look: 1 steps, levels 250 to 750 |" in (
        (tmp_path / "fast.md").read_text()
    )

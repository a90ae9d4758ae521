"""The measure of the choice: areas under curves, and how far the chosen value is from the best."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scripts.tiny_world.measure import choice


def test_the_area_under_the_curve() -> None:
    values = np.array([0.1, 0.4, 0.4, 0.9])
    assert choice.area_under_curve(values, np.array([0, 1, 0, 1], bool)) == 0.875  # a tie is half
    assert choice.area_under_curve(values, np.array([1, 1, 0, 0], bool)) == pytest.approx(0.125)
    assert choice.area_under_curve(values, np.ones(4, bool)) is None


def test_the_chosen_value_is_compared_with_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "fish" / "learned_embeddings"
    own.mkdir(parents=True)
    judged = [{"bg_lambda": 0.1, "score": 0.02}, {"bg_lambda": 0.6, "score": 0.01}]
    (own / "choice.json").write_text(json.dumps({"bg_lambda": 0.1, "judged": judged}))
    monkeypatch.setattr(choice, "has_look", lambda sample: sample.look)
    looks = {"0.1": [1, 0, 0, 1], "0.6": [1, 1, 0, 1]}
    samples = {
        value: [SimpleNamespace(category="fish", look=look) for look in of]
        for value, of in looks.items()
    }
    *shares, chosen = choice.choice_lines(tmp_path, samples)
    assert [line.value for line in shares] == [0.5, 0.75]
    assert (chosen.what, chosen.value, chosen.holds) == (
        "chosen: 0.1, short of the best",
        0.25,
        False,
    )

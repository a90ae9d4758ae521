"""What the figures of the tiny models mean, and a run over the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scripts.tiny_world.measure.weights import Figures, heatmap_iou, main, overlap


def test_overlap_by_hand() -> None:
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert overlap(one, other) == 1  # nothing where nothing is
    one[:2], other[1:3] = True, True
    assert overlap(one, other) == pytest.approx(4 / 12)


def test_a_heatmap_counts_from_its_threshold_on() -> None:
    heatmap, mask = np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool)
    heatmap[0], heatmap[1] = 255, 114  # 114 is just below 0.45
    mask[0] = True
    assert heatmap_iou(heatmap, mask) == 1
    heatmap[1] = 115
    assert heatmap_iou(heatmap, mask) == pytest.approx(0.5)


def test_the_range_of_kinds_is_over_all_categories() -> None:
    shares = {"fish": {"eel": 0.1, "ray": 0.9}, "cup": {"mug": 0.4, "goblet": 0.6}}
    assert Figures(kind_shares=shares).kind_range == (0.1, 0.9)


def test_the_published_models_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--diffusion_model", "tiny", "--fss_ckpt_path", "tiny"]
    words = [*models, "--count", "2", "--scenes", "8", "--output_dir", str(tmp_path)]
    assert main(words) == 0
    figures = json.loads((tmp_path / "weights.json").read_text())
    assert figures["faithful"] >= 0.5 and set(figures["faithful_by_category"]) >= {"fish", "car"}
    assert 0.3 < figures["segmenter_company"] and 0.6 < figures["segmenter_alone"]
    assert sum(figures["kind_shares"]["fish"].values()) == pytest.approx(1)
    for name in ("generator.png", "segmenter.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert "plain prompts: faithful" in capsys.readouterr().out

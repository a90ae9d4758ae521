"""Backgrounds that were drawn: what a heatmap outlines, and what it does not."""

from __future__ import annotations

import numpy as np

from aligndiff.scenes.backgrounds import cut_by_heat


def test_a_broad_heatmap_becomes_the_outline_of_its_thing() -> None:
    rows, columns = np.mgrid[:64, :64]
    away = np.hypot(rows - 30, columns - 34)
    rng = np.random.default_rng(0)
    ground = np.full((64, 64, 3), (60, 140, 60)) + rng.integers(-9, 9, (64, 64, 3))
    image = np.where((away < 14)[..., None], (210, 60, 40), ground).astype(np.uint8)
    heatmap = (255 * np.exp(-((away / 16) ** 2))).astype(np.uint8)
    cut = cut_by_heat(image, heatmap) == 1
    assert (cut & (away < 14)).sum() / (cut | (away < 14)).sum() > 0.9
    assert ((heatmap > 80) & (away > 15)).any()  # the heatmap alone would bring ground along
    assert (cut_by_heat(image, heatmap) == cut).all()

"""Every category has kinds, and the kinds differ in body."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from scripts.tiny_world.world.looks import Look
from scripts.tiny_world.world.scene import Scene, Thing, render
from scripts.tiny_world.world.shapes import ALL_SHAPES, draw_shape, kind_of, seed_of_kind


def outline(category: str, kind: str, seed: int = 40) -> np.ndarray:
    """The mask of an upright object of a kind: bool (128, 128)."""
    shape_seed = seed_of_kind(category, kind, seed)
    thing = Thing(category, Look("plain", "red"), (0.5, 0.5), 0.9, 0.0, False, shape_seed)
    return render(Scene("sky", (thing,), seed=1)).masks[0]


@pytest.mark.parametrize("category", ALL_SHAPES)
def test_kinds_of_a_category_differ_in_outline_more_than_individuals_of_a_kind(
    category: str,
) -> None:
    def iou(one: np.ndarray, other: np.ndarray) -> float:
        return float((one & other).sum() / (one | other).sum())

    kinds = list(ALL_SHAPES[category])
    assert len(kinds) >= 5
    outlines = {kind: outline(category, kind) for kind in kinds}
    across = [iou(outlines[a], outlines[b]) for a, b in combinations(kinds, 2)]
    within = [iou(outlines[kind], outline(category, kind, seed=900)) for kind in kinds]
    assert max(across) < 0.9 and np.mean(across) < 0.65
    assert np.mean(within) > np.mean(across) + 0.1


@pytest.mark.parametrize("category", ALL_SHAPES)
def test_a_shape_fills_its_square_and_stays_within(category: str) -> None:
    for seed in range(50):
        points = np.concatenate([part.points for part in draw_shape(category, seed)])
        assert np.abs(points).max() <= 1.05
        assert np.ptp(points, axis=0).max() > 1.5


def test_every_kind_of_a_category_is_equally_frequent() -> None:
    seen = [kind_of("boat", seed) for seed in range(100)]
    assert {seen.count(kind) for kind in ALL_SHAPES["boat"]} == {20}


def test_a_seed_is_found_for_every_kind_and_none_for_another() -> None:
    for kind in ALL_SHAPES["cup"]:
        assert kind_of("cup", seed_of_kind("cup", kind, 123_456)) == kind
    with pytest.raises(KeyError, match="a cup of the kind bowl: the kinds are mug, "):
        seed_of_kind("cup", "bowl", 1)


def test_every_shape_wears_its_look_somewhere() -> None:
    for category, kinds in ALL_SHAPES.items():
        for kind in kinds:
            parts = draw_shape(category, seed_of_kind(category, kind, 5))
            assert any(part.colour is None for part in parts)

"""Line 7 of the measurement: its figures of hand-made images, and its lines."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.tiny_world.measure.adapt import (
    AdaptFigures,
    adapt_lines,
    distance_to_nearest,
    spread_of_grounds,
)
from scripts.tiny_world.measure.lines import show


def flat(*greys: int) -> np.ndarray:
    return np.stack([np.full((32, 32, 3), grey, np.uint8) for grey in greys])


def test_grounds_are_compared_without_the_object() -> None:
    images, foreground = flat(100, 140), np.zeros((32, 32), bool)
    foreground[:8] = True
    images[:, :8] = (255, 0, 0)
    assert spread_of_grounds(images, [foreground] * 2) == pytest.approx(20)
    everything = np.ones_like(foreground)
    assert spread_of_grounds(flat(50, 50), [everything] * 2) == 0


def test_the_nearest_photo_may_be_mirrored() -> None:
    photos = flat(0, 200)
    photos[0, :, :16] = 100
    mirrored = photos[:1, :, ::-1]
    images = np.concatenate([mirrored, flat(190)])
    assert distance_to_nearest(images, photos) == pytest.approx([0, 10])


def test_the_worse_object_counts_and_the_embedding_is_not_judged() -> None:
    alone = [AdaptFigures("embedding", name, 60, 1.0, 0.5, 40.0, 50.0) for name in ("a", "b")]
    tuned = [
        AdaptFigures("lora", "a", 200, 1.0, 0.9, 40.0, 38.0),
        AdaptFigures("lora", "b", 200, 0.94, 0.81, 30.0, 40.0),
    ]
    lines = adapt_lines([*alone, *tuned])
    assert [line.holds for line in lines] == [None] * 4 + [True, False, False, None]
    assert [show(line.value, line.unit) for line in lines[4:]] == [
        *("81.0 %", "94.0 %", "87.5 %"),
        "39.0 levels",
    ]
    assert {line.n for line in lines[4:]} == {200}

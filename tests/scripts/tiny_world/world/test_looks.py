"""Textures: how much they cover, and how they lie on their object."""

from __future__ import annotations

import pytest

from scripts.tiny_world.world.looks import texture_period, texture_share


def test_dots_cover_less_than_half_of_what_bands_do() -> None:
    covered = {
        texture: texture_share(texture, (300, 300), (150.0, 150.0), 30.0).mean()
        for texture in ("banded", "striped", "dotted", "checkered", "plain")
    }
    assert covered["dotted"] < 0.5 * covered["banded"]
    assert covered["banded"] == pytest.approx(covered["striped"], abs=0.01)
    assert covered["checkered"] == pytest.approx(0.5, abs=0.01)
    assert covered["plain"] == 0


def test_every_other_row_of_dots_is_moved_by_half_a_period() -> None:
    share = texture_share("dotted", (200, 200), (100.0, 100.0), 40.0)
    assert share[100, 100] and share[100, 140]
    assert not share[140, 100] and share[140, 120]


def test_a_texture_grows_with_its_object_between_bounds() -> None:
    periods = [texture_period("striped", size) for size in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert periods == sorted(periods)
    assert periods[0] == pytest.approx(0.05) and periods[-1] == pytest.approx(0.22)
    assert all(2 * texture_period(name, 0.9) < 0.9 for name in ("dotted", "banded", "checkered"))

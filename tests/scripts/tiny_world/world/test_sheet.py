"""The pictures of the world."""

from __future__ import annotations

import numpy as np

from scripts.tiny_world.world.shapes import ALL_SHAPES
from scripts.tiny_world.world.sheet import CELL, GAP, OUTLINE, kinds_sheet, outlined, tiled


def test_a_row_for_each_category_two_individuals_of_each_kind() -> None:
    side = CELL + GAP
    assert kinds_sheet().shape == (side * len(ALL_SHAPES) - GAP, side * 10 - GAP, 3)


def test_an_outline_lies_on_the_border_of_its_mask() -> None:
    masks = np.zeros((1, 20, 20), bool)
    masks[0, 5:15, 5:15] = True
    drawn = outlined(np.zeros((20, 20, 3), np.uint8), masks)
    border = (drawn == OUTLINE).all(axis=2)
    assert border.sum() == 36 and border[5, 5:15].all() and not border[6:14, 6:14].any()


def test_pictures_stand_side_by_side_with_white_between() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    sheet = tiled([[black, black], [black, black]])
    assert sheet.shape == (16 + GAP, 16 + GAP, 3)
    assert (sheet[8 : 8 + GAP] == 255).all() and (sheet[:8, :8] == 0).all()

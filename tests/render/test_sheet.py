from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aligndiff.dataset.images import Uint8, read_image
from aligndiff.dataset.support import SupportPair
from aligndiff.render.canvas import blank, fit, paste, paste_text, shortened, text_width
from aligndiff.render.overlay import MASK_COLOUR, overlay_heatmap, overlay_mask
from aligndiff.render.sheet import SheetRow, SheetSample, grid, step_sheet, write_sheet

IMAGE = np.full((60, 80, 3), 100, dtype=np.uint8)
MASK = np.zeros((60, 80), dtype=bool)
MASK[20:40, 20:60] = True
HEATMAP = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (60, 1))
PAIR = SupportPair("1", IMAGE, MASK.astype(np.uint8))


def places_of(sheet: Uint8, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    return [(int(row), int(column)) for row, column in np.argwhere((sheet == colour).all(axis=2))]


def test_an_object_keeps_its_colours_gets_an_outline_and_a_dim_grey_surrounding() -> None:
    labels = MASK.astype(np.uint8)
    labels[:, 70:] = 255
    drawn = overlay_mask(IMAGE, labels)
    assert (drawn.shape, drawn.dtype) == (IMAGE.shape, np.uint8)
    assert drawn[30, 40].tolist() == [100, 100, 100]
    assert np.abs(drawn[30, 20] - np.array(MASK_COLOUR, float)).max() < 60  # cv2 softens lines
    assert drawn[5, 5].tolist() == [45, 45, 45]
    assert drawn[5, 75].tolist() == [98, 98, 102]
    assert np.array_equal(overlay_mask(IMAGE, MASK)[:, :60], drawn[:, :60])


def test_heat_goes_from_blue_to_red() -> None:
    drawn = overlay_heatmap(IMAGE, HEATMAP).astype(int)
    assert drawn[0, 8, 2] > drawn[0, 8, 0]
    assert drawn[0, 72, 0] > drawn[0, 72, 2]
    assert (IMAGE == 100).all()  # not drawn in place


@pytest.mark.parametrize("draw", [overlay_mask, overlay_heatmap])
def test_sizes_must_agree(draw: object) -> None:
    with pytest.raises(ValueError, match=r"image is \(60, 80\), what is laid over it \(60, 79\)"):
        draw(IMAGE, HEATMAP[:, 1:])  # type: ignore[operator]


@pytest.mark.parametrize("size", [(60, 80), (80, 60), (4, 4), (500, 3), (1, 900)])
def test_every_picture_fits_its_tile(size: tuple[int, int]) -> None:
    red = np.full((*size, 3), (255, 0, 0), dtype=np.uint8)
    tile = fit(red, 64)
    assert tile.shape == (64, 64, 3)
    rows, columns = np.nonzero((tile == (255, 0, 0)).all(axis=2))
    assert max(np.ptp(rows), np.ptp(columns)) == 63
    assert abs((rows.min() + rows.max()) / 2 - 31.5) <= 1  # centred


def test_a_grid_places_rows_and_columns() -> None:
    red, green = (np.full((9, 9, 3), c, dtype=np.uint8) for c in ((255, 0, 0), (0, 255, 0)))
    sheet = grid([[red, None], [None, green]], tile=32)
    tops, lefts = zip(*places_of(sheet, (255, 0, 0)), strict=True)
    assert (len(tops), max(tops) - min(tops)) == (32 * 32, 31)
    down, right = places_of(sheet, (0, 255, 0))[0]
    assert down > max(tops)
    assert right > max(lefts)
    titled = grid([[red]], title="title", row_titles=["row"], column_titles=["column"], tile=32)
    assert titled.shape > grid([[red]], tile=32).shape
    assert grid([]).shape[2] == 3


def test_a_step_sheet_shows_every_sample() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    samples = [
        SheetSample(np.full((20, 20, 3), colour, dtype=np.uint8), note="IoU 0.9", mark="good")
        for colour in colours
    ]
    row = SheetRow("fish", [PAIR, PAIR], samples, "a photo of a fish")
    sheet = step_sheet("Step 2", [row, row], samples_per_line=3, tile=40)
    for colour in colours:
        assert len(places_of(sheet, colour)) == 2 * 40 * 40
    first, fourth = (places_of(sheet, colours[i])[0] for i in (0, 3))
    assert fourth[0] > first[0]
    assert fourth[1] == first[1]
    assert sheet[0].min() == sheet[:, 0].min() == 255  # white margins


def test_columns_that_no_sample_has_are_left_out() -> None:
    def width(*samples: SheetSample) -> int:
        return step_sheet("", [SheetRow("fish", [PAIR], samples)], tile=40).shape[1]

    plain = width(SheetSample(IMAGE))
    assert plain < width(SheetSample(IMAGE, HEATMAP)) < width(SheetSample(IMAGE, HEATMAP, MASK))
    # a rejected sample has no mask, and its place stays empty
    assert width(SheetSample(IMAGE, HEATMAP, MASK), SheetSample(IMAGE, HEATMAP)) == width(
        SheetSample(IMAGE, HEATMAP, MASK)
    )


@pytest.mark.parametrize("rows", [[], [SheetRow("fish", [], [])]])
def test_a_sheet_of_nothing_is_still_a_picture(rows: list[SheetRow], tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheets" / "a.png", step_sheet("Step 2", rows))
    assert read_image(tmp_path / "sheets" / "a.png").ndim == 3


def test_long_text_is_cut_to_its_width() -> None:
    words = "a photo of a red and white striped boat on the sea"
    assert shortened("short", 14, 200) == "short"
    cut = shortened(words, 14, 120)
    assert cut.endswith("...")
    assert words.startswith(cut[:-3])
    assert text_width(cut, 14) <= 120


def test_what_lies_outside_a_canvas_is_cut_off() -> None:
    canvas = blank(10, 10)
    paste(canvas, IMAGE, 5, 8)
    assert (canvas[5:, 8:] == 100).all()
    paste_text(canvas, "text", 20, 0, 12)
    paste_text(canvas, "text", 0, 20, 12)
    assert (canvas[:5] == 255).all()

"""Outlining photos in a real browser, with real mouse, key and touch events.

Without a browser these tests are skipped. CHROMIUM=/path/to/it names one that is not on PATH.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from tests.chromium import Chromium, Page
from tests.preparation.conftest import outlining

SIZE = (480, 640)  # (h, w) of the photos
MARGIN = 24  # px of the stage around a photo that fits
OBJECT = np.array([[150, 80], [560, 130], [500, 400], [200, 330]])  # (x, y) of its corners
OBJECT_COLOUR, GROUND_COLOUR = (20, 160, 60), (150, 150, 160)
EXIF_ORIENTATION = 0x0112


def inside(corners: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Bool (h, w): the pixels whose middles lie in the convex polygon of (x, y) corners."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    sides = []
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        sides.append((bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0)
    return np.all(sides, axis=0) | ~np.any(sides, axis=0)


def near(line: np.ndarray, radius: float) -> np.ndarray:
    """Bool (h, w): the pixels whose middles lie within `radius` of a line of (x, y) points."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    middles = np.stack([x, y], axis=-1)
    found = np.zeros(SIZE, dtype=bool)
    for a, b in zip(line[:-1], line[1:], strict=True):
        part = np.clip((middles - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        found |= np.linalg.norm(middles - a - part[..., None] * (b - a), axis=-1) <= radius
    return found


def assert_same_to_a_pixel(mask: np.ndarray, expected: np.ndarray, px: int = 1) -> None:
    """`mask` holds what lies deeper than `px` in `expected`, and nothing further out."""
    square = np.ones((2 * px + 1, 2 * px + 1), np.uint8)
    core = cv2.erode(expected.astype(np.uint8), square, borderValue=1).astype(bool)
    around = cv2.dilate(expected.astype(np.uint8), square).astype(bool)
    assert core.any() and mask[core].all() and not mask[~around].any()


def photo_of_object(path: Path, orientation: int = 1) -> Path:
    """A photo of the green OBJECT; with an EXIF orientation its pixels lie turned in the file."""
    photo = np.full((*SIZE, 3), GROUND_COLOUR, np.uint8)
    photo[inside(OBJECT)] = OBJECT_COLOUR
    turned = np.rot90(photo, {1: 0, 6: 1, 3: 2, 8: 3}[orientation])  # as a phone stores it
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(turned).save(path, quality=95, exif=exif.tobytes())
    return path


def opened(browser: Chromium, address: str, **size: int) -> Page:
    page = browser.open(address, **size)
    page.wait("state.mask")
    page.settle()
    return page


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return [photo_of_object(tmp_path / name) for name in ("one.jpg", "two.jpg")]


@pytest.fixture
def outline(photos: list[Path], tmp_path: Path):
    with outlining(photos, tmp_path / "masks", title="leaf") as outline:
        yield outline


@pytest.fixture
def page(browser: Chromium, outline) -> Iterator[Page]:
    """The page, with the first photo to be drawn on. Nothing may have gone wrong at the end."""
    page = opened(browser, outline.address)
    yield page
    assert page.complaints() == []
    page.js("state.finished = true")  # or it asks whether to leave
    page.close()


def on_screen(page: Page, points: np.ndarray, size: tuple[int, int] = SIZE) -> list:
    """Where (x, y) of a photo that fits into the stage are seen, whole pixels."""
    box = "(b => [b.x, b.y, b.width, b.height])"
    left, top, width, height = page.js(f"{box}(byId('stage').getBoundingClientRect())")
    zoom = min((width - 2 * MARGIN) / size[1], (height - 2 * MARGIN) / size[0])
    corner = np.array([left + (width - zoom * size[1]) / 2, top + (height - zoom * size[0]) / 2])
    return [tuple(map(float, place)) for place in np.round(corner + zoom * np.asarray(points))]


def zoom(page: Page) -> float:
    """Screen pixels for a pixel of a photo that fits."""
    (ax, _), (bx, _) = on_screen(page, np.array([[0, 0], [SIZE[1], 0]]))
    return (bx - ax) / SIZE[1]


def click_all(page: Page, places: list) -> None:
    for place in places:
        page.drag([place])


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        values = np.array(image)
        assert image.mode == "L" and set(np.unique(values)) == {0, 255}
    return values == 255


def save(page: Page) -> None:
    page.key("s")
    page.wait("!state.busy && !unsaved()")


def test_a_polygon_is_saved_pixel_by_pixel(page, outline, photos) -> None:
    click_all(page, on_screen(page, OBJECT))
    assert page.js("state.mask.area") == 0  # still open
    click_all(page, on_screen(page, OBJECT[:1]))  # on the first point
    save(page)
    mask = mask_of(outline.mask_path(photos[0]))
    assert_same_to_a_pixel(mask, inside(OBJECT))
    assert page.js("document.querySelector('#state').textContent") == "saved"
    assert page.js("document.querySelectorAll('#strip .saved').length") == 1
    assert f"object {100 * mask.mean():.0f} %" in page.js("byId('about').textContent")


def test_a_brush_stroke_is_saved_pixel_by_pixel_and_can_be_erased(page, outline, photos) -> None:
    line = np.array([[100, 100], [300, 250], [520, 200]])
    page.key("b")
    page.drag(on_screen(page, line))
    save(page)
    radius = page.js("state.size") / 2 / zoom(page)
    expected = near(line, radius)
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[0])), expected)
    page.key("e")
    across = np.array([[300, 100], [300, 400]])
    page.drag(on_screen(page, across))
    save(page)
    expected &= ~near(across, radius)
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[0])), expected)


def test_what_is_seen_is_what_is_saved(page, outline, photos, tmp_path) -> None:
    """The clicks go where a screenshot shows the object's corners, zoomed in and moved."""
    x, y = on_screen(page, OBJECT.mean(axis=0)[None])[0]
    page.wheel(x, y, -100)
    page.drag([(x, y), (x + 40, y - 25)], button="middle")
    assert page.js("stage.zoom") > 1.2 * zoom(page)
    page.screenshot(tmp_path / "seen.png")
    seen = np.array(Image.open(tmp_path / "seen.png").convert("RGB")).astype(int)
    green = (np.abs(seen - OBJECT_COLOUR).max(axis=2) < 30).astype(np.uint8)
    found, _ = cv2.findContours(green, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(found, key=cv2.contourArea)  # the others are thumbnails
    corners = cv2.approxPolyDP(largest, 8, True)[:, 0].astype(float)
    assert len(corners) == 4
    click_all(page, [tuple(corner) for corner in corners])
    page.key("Enter")
    save(page)
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[0])), inside(OBJECT), px=2)


@pytest.mark.parametrize("orientation", [6, 3, 8])
def test_a_turned_phone_photo(browser, tmp_path, orientation) -> None:
    photo = photo_of_object(tmp_path / "phone.jpg", orientation)
    with Image.open(photo) as stored:
        assert (stored.size == SIZE) == (orientation != 3)
    with outlining([photo], tmp_path / "masks") as outline:
        page = opened(browser, outline.address)
        click_all(page, on_screen(page, OBJECT))
        page.key("Enter")
        save(page)
        assert_same_to_a_pixel(mask_of(outline.mask_path(photo)), inside(OBJECT))
        page.close()


def test_undo_and_redo(page, outline, photos) -> None:
    page.key("b")
    for y in (100, 200, 300):
        page.drag(on_screen(page, np.array([[100, y], [400, y]])))
    areas = [page.js("state.mask.area")]
    for _ in range(3):
        page.key("z")
        areas.append(page.js("state.mask.area"))
    assert areas[3] == 0 and areas[0] > areas[1] > areas[2] > 0
    page.key("z")  # nothing is left to undo
    for expected in (areas[2], areas[1]):
        page.key("y")
        assert page.js("state.mask.area") == expected
    page.drag(on_screen(page, np.array([[100, 400], [400, 400]])))
    page.key("y")  # what was undone went when something else was drawn
    assert page.js("state.mask.area") == areas[0]
    save(page)
    radius = page.js("state.size") / 2 / zoom(page)
    lines = [near(np.array([[100, y], [400, y]]), radius) for y in (100, 200, 400)]
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[0])), np.any(lines, axis=0))
    page.click("#clear")
    assert page.js("state.mask.area") == 0
    page.click("#undo")
    assert page.js("state.mask.area") == areas[0]


def test_points_are_taken_back_one_by_one(page) -> None:
    click_all(page, on_screen(page, OBJECT))
    page.key("z")
    page.key("Backspace")
    assert page.js("state.points.length") == 2
    page.key("Escape")
    assert page.js("state.points.length") == 0 and page.js("byId('save').disabled")


def test_a_line_dragged_around_the_object_closes_by_itself(page, outline, photos) -> None:
    corners = np.vstack([OBJECT, OBJECT[:1]]).astype(float)
    steps = np.linspace(0, 1, 30)[:, None]
    line = np.vstack([a + steps * (b - a) for a, b in zip(corners[:-1], corners[1:], strict=True)])
    page.drag(on_screen(page, line))
    save(page)
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[0])), inside(OBJECT), px=2)


def test_two_photos_saved_by_going_on(page, outline, photos) -> None:
    click_all(page, on_screen(page, OBJECT))
    page.key("ArrowRight")  # closes the polygon, saves, and shows the other photo
    page.wait("state.at === 1 && state.mask")
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[0])), inside(OBJECT))
    assert page.js("state.mask.area") == 0
    square = np.array([[20, 20], [200, 20], [200, 200], [20, 200]])
    click_all(page, on_screen(page, square))
    page.key("Enter")
    page.key("ArrowLeft")
    page.wait("state.at === 0 && state.mask")
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[1])), inside(square))
    # The first one's mask is there again, and can be corrected.
    assert page.js("state.mask.area") == mask_of(outline.mask_path(photos[0])).sum()
    page.click("#finish")
    page.wait("!byId('end').hidden")
    assert page.js("byId('end').innerText").startswith("2 of 2 photos have a mask")


def test_finish_names_the_photos_without_a_mask(page, outline) -> None:
    page.key("b")
    page.drag(on_screen(page, np.array([[100, 100], [300, 100]])))
    page.click("#finish")
    page.wait("document.querySelector('#ask').open")
    assert page.js("document.querySelector('#ask p').textContent") == "One photo has no mask yet."
    page.click("#ask [value=no]")
    assert page.js("byId('end').hidden")
    page.click("#finish")
    page.wait("document.querySelector('#ask').open")
    page.click("#ask [value=yes]")
    page.wait("!byId('end').hidden")
    assert [photo.name for photo, _ in outline.saved] == ["one.jpg"]


def test_what_the_command_refuses_is_read_in_the_page(browser, photos, tmp_path) -> None:
    def refuse(photo: Path, mask: np.ndarray) -> None:
        raise InputError("one.jpg: <b>covers</b> too little")

    with outlining(photos, tmp_path, save=refuse) as outline:
        page = opened(browser, outline.address)
        page.key("b")
        page.drag(on_screen(page, np.array([[100, 100], [300, 100]])))
        page.key("ArrowRight")
        page.wait("!byId('trouble').hidden")
        problem = page.js("document.querySelector('#trouble span').innerText")
        assert problem == "Not saved. one.jpg: <b>covers</b> too little"
        assert page.js("state.at") == 0 and page.js("state.mask.area") > 0  # nothing is lost
        page.click("#discard")
        page.wait("state.at === 1 && state.mask")
        page.close()


def test_a_command_that_has_ended_is_told(browser, photos, tmp_path) -> None:
    with outlining(photos, tmp_path) as outline:
        page = opened(browser, outline.address)
    page.key("b")
    page.drag(on_screen(page, np.array([[100, 100], [300, 100]])))
    page.key("s")
    page.wait("!byId('trouble').hidden")
    assert "does not answer" in page.js("byId('trouble').innerText")
    assert page.js("state.mask.area") > 0
    page.js("state.finished = true")
    page.close()


def test_one_finger_draws_and_two_move_and_zoom(browser, outline, photos) -> None:
    page = opened(browser, outline.address)
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    page.key("b")
    line = np.array([[100, 100], [200, 150], [400, 150]])
    page.touch(*([place] for place in on_screen(page, line)))
    area = page.js("state.mask.area")
    (ax, ay), (bx, by) = on_screen(page, np.array([[250, 240], [390, 240]]))
    page.touch(
        [(ax, ay)],  # the first finger begins a stroke, which the second one takes back
        [(ax, ay), (bx, by)],
        [(ax - 60, ay), (bx + 60, by)],
    )
    assert page.js("state.mask.area") == area > 0
    apart = (bx - ax + 120) / (bx - ax)
    assert page.js("stage.zoom") == pytest.approx(zoom(page) * apart, rel=0.02)
    page.key("0")
    save(page)
    radius = page.js("state.size") / 2 / zoom(page)
    assert_same_to_a_pixel(mask_of(outline.mask_path(photos[0])), near(line, radius))
    page.close()


def test_alt_erases_while_it_is_held(page) -> None:
    page.key("b")
    places = on_screen(page, np.array([[100, 100], [300, 100]]))
    page.drag(places)
    alt = {"key": "Alt", "windowsVirtualKeyCode": 18}
    page.call("Input.dispatchKeyEvent", type="keyDown", modifiers=1, **alt)
    page.drag(places)
    page.call("Input.dispatchKeyEvent", type="keyUp", **alt)
    assert page.js("state.mask.area") == 0
    page.drag(places)
    assert page.js("state.mask.area") > 0


def test_a_line_over_the_photos_border(page, outline, photos) -> None:
    """Points beside the photo count; the mask goes to its last pixel."""
    beyond = np.array([[-15, -15], [320, -15], [320, 495], [-15, 495]])
    click_all(page, on_screen(page, beyond))
    page.key("Enter")
    save(page)
    mask = mask_of(outline.mask_path(photos[0]))
    assert_same_to_a_pixel(mask, inside(beyond))
    assert mask[0, :310].all() and mask[-1, :310].all() and mask[:, 0].all()


def test_a_line_that_crosses_itself_takes_all_that_it_goes_around(page) -> None:
    twice = np.array([[100, 100], [300, 100], [300, 300], [100, 300]] * 2)
    click_all(page, on_screen(page, twice[:4]))
    # A second time around, not on the first point, which would close it.
    click_all(page, on_screen(page, twice[4:] + 20))
    page.key("Enter")
    assert page.js("state.mask.pixels[200 * 640 + 200]") == 1
    assert page.js("state.mask.area") > 200 * 200


def test_a_photo_of_12_megapixels_stays_responsive(browser, tmp_path) -> None:
    photo = tmp_path / "large.jpg"
    blocks = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(blocks.repeat(50, axis=0).repeat(50, axis=1)).save(photo)
    size = (3000, 4000)
    with outlining([photo], tmp_path / "masks") as outline:
        page = opened(browser, outline.address)
        page.js(
            "window.tasks = []; new PerformanceObserver(list => list.getEntries().forEach("
            "entry => tasks.push(entry.duration))).observe({type: 'longtask'})"
        )
        page.key("b")
        line = np.column_stack([np.linspace(400, 3600, 60), np.full(60, 1500)])
        began = time.monotonic()
        page.drag(on_screen(page, line, size))
        for _ in range(6):
            page.wheel(640, 400, -100)
        page.drag([(640 + 5 * step, 400) for step in range(40)], button="middle")
        page.key("0")
        page.key("p")
        corners = np.array([[100, 100], [3900, 100], [3900, 2900], [100, 2900]])
        click_all(page, on_screen(page, corners, size))
        page.key("Enter")
        page.key("z")
        page.key("y")
        took = time.monotonic() - began
        # A frame costs 10 ms, closing and undoing 0.1 s; six times as much on a busy machine.
        assert took < 20 and max(page.js("tasks"), default=0) < 700
        save(page)
        mask = mask_of(outline.mask_path(photo))
        expected = inside(corners, size)
        assert mask.shape == size
        assert_same_to_a_pixel(mask, expected, px=6)  # one pixel of the screen
        page.close()


def test_the_mask_is_seen_where_it_is(page, tmp_path) -> None:
    click_all(page, on_screen(page, OBJECT))
    page.key("Enter")
    shots = {}
    for key in "123":
        page.key(key)
        page.hover("#title")
        data = base64.b64decode(page.call("Page.captureScreenshot")["data"])
        shots[key] = np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    middle, beside = (
        tuple(int(value) for value in on_screen(page, np.array([point]))[0][::-1])
        for point in (OBJECT.mean(axis=0), (60, 440))
    )
    assert np.abs(shots["3"][middle] - OBJECT_COLOUR).max() < 30
    assert shots["1"][middle][0] > shots["3"][middle][0] + 50  # pink over green
    assert np.abs(shots["1"][beside] - shots["3"][beside]).max() < 3
    assert np.abs(shots["2"][middle] - shots["3"][middle]).max() < 3  # cut out: itself
    assert shots["2"][beside].sum() < 0.5 * shots["3"][beside].sum()  # on a dark ground


def test_hostile_names_are_text(browser, tmp_path) -> None:
    photo = photo_of_object(tmp_path / "<img src=x onerror=hacked()>.jpg")
    with outlining([photo, photo], tmp_path / "m", title="</script><script>x()") as outline:
        page = opened(browser, outline.address)
        assert page.js("byId('title').textContent") == "Outline: </script><script>x()"
        assert photo.name in page.js("byId('place').textContent")
        assert page.js("document.querySelectorAll('[onerror], body script').length") == 0
        assert page.complaints() == []
        page.close()

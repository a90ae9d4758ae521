"""What a mask file means: a test for each row of the table in docs/FORMAT.md."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.mask_class import MaskClass
from aligndiff.dataset.masks import MaskReading, interpret_mask

SIDE = 120
GROUND, RED, GREEN = (0, 0, 0), (250, 50, 83), (48, 112, 32)
Array = np.ndarray


def box(top: int, left: int, size: int = 30) -> Array:
    """A square, bool (SIDE, SIDE)."""
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[top : top + size, left : left + size] = True
    return inside


A, B, C = box(10, 10), box(10, 60), box(60, 20)
DISC = np.hypot(*(np.mgrid[:SIDE, :SIDE] - 59.5)) < 30


def labels(*areas: tuple[Array, int], dtype: type = np.uint8) -> Image.Image:
    """A grey map that has these values in these areas, and 0 elsewhere."""
    grey = np.zeros((SIDE, SIDE), dtype=dtype)
    for area, value in areas:
        grey[area] = value
    return Image.fromarray(grey)


def colours(*areas: tuple[Array, tuple[int, int, int]], ground: tuple[int, ...] = GROUND) -> Image:
    rgb = np.full((SIDE, SIDE, 3), ground, dtype=np.uint8)
    for area, colour in areas:
        rgb[area] = colour
    return Image.fromarray(rgb)


def palette(indices: Image.Image, *table: tuple[int, int, int]) -> Image.Image:
    """The grey map as a palette image with these colours from index 0 on."""
    image = Image.fromarray(np.asarray(indices), "P")
    image.putpalette([channel for colour in table for channel in colour])
    return image


def voc_palette() -> list[tuple[int, int, int]]:
    """The colours of Pascal VOC: the bits of an index in turn, from the highest bit down."""
    table = []
    for index in range(256):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        table.append((channels[0], channels[1], channels[2]))
    return table


def transparent(rgb: Image.Image, opaque: Array) -> Image.Image:
    image = rgb.convert("RGBA")
    image.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    return image


def read(
    image: Image.Image, folder: Path, mask_class: MaskClass | None = None, kind: str = "PNG"
) -> MaskReading:
    image.save(folder / "mask", kind)
    return interpret_mask(folder / "mask", mask_class)


def expect(is_object: Array, ignore: Array | None = None) -> Array:
    mask = is_object.astype(np.uint8)
    if ignore is not None:
        mask[ignore] = 255
    return mask


def soft(is_object: Array, sigma: float) -> Image.Image:
    return Image.fromarray(cv2.GaussianBlur(is_object.astype(np.uint8) * 255, (0, 0), sigma))


def jpeg(image: Image.Image, quality: int = 60) -> Image.Image:
    """What is left of an image after JPEG, to be saved as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


RIM = cv2.dilate(A.astype(np.uint8), np.ones((7, 7))).astype(bool) & ~A
NOISE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
VOC = palette(labels((A, 15), (B, 5), (RIM, 255)), *voc_palette())
BLACK_AND_WHITE = {
    "0 and 255": labels((A, 255)),
    "0 and 1": labels((A, 1)),
    "0 and 15": labels((A, 15)),
    "grey 30 and 90": Image.fromarray(np.where(A, 90, 30).astype(np.uint8)),
    "1 bit": labels((A, 255)).convert("1"),
    "RGB": labels((A, 255)).convert("RGB"),
    "16 bit": labels((A, 65535), dtype=np.uint16),
    "16 bit, 0 and 1": labels((A, 1), dtype=np.uint16),
    "palette": palette(labels((A, 1)), (0, 0, 0), (255, 255, 255)),
    "palette, white first": palette(labels((~A, 1)), (255, 255, 255), (0, 0, 0)),
    "palette, white last": labels((A, 255)).convert("P"),
    "red on black": colours((A, (255, 0, 0))),
    "palette, red first": palette(labels((~A, 1)), (255, 0, 0), (0, 0, 0)),
    "palette that tells nothing": palette(labels((A, 1)), (9, 9, 9), (9, 9, 9)),
}


@pytest.mark.parametrize("kind", BLACK_AND_WHITE)
def test_black_and_white(kind: str, tmp_path: Path) -> None:
    reading = read(BLACK_AND_WHITE[kind], tmp_path)
    assert np.array_equal(reading.mask, expect(A))
    assert reading.mask.dtype == np.uint8 and reading.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
@pytest.mark.parametrize("sigma", [0.7, 3.0])
def test_soft_edges_are_cut_in_the_middle(sigma: float, kind: str, tmp_path: Path) -> None:
    reading = read(soft(DISC, sigma), tmp_path, kind=kind)
    assert (reading.mask != expect(DISC)).mean() < 0.004
    assert set(np.unique(reading.mask)) == {0, 1}


def test_a_soft_mask_enlarged_is_no_label_map(tmp_path: Path) -> None:
    """Every value of its edge is an area then, of 4 x 4 pixels."""
    large = np.kron(np.asarray(soft(DISC, 1.5)), np.ones((4, 4), dtype=np.uint8))
    mask = read(Image.fromarray(large), tmp_path).mask
    assert (mask != np.kron(expect(DISC), np.ones((4, 4)))).mean() < 0.005


def test_a_smooth_slope_is_cut_in_the_middle(tmp_path: Path) -> None:
    """A heat map: nothing is flat but the background."""
    distance = np.hypot(*(np.mgrid[:SIDE, :SIDE] - 59.5))
    slope = np.clip(255 - distance * 5, 0, 255).astype(np.uint8)
    mask = read(Image.fromarray(slope), tmp_path).mask
    assert np.mean(mask != (slope > 127)) < 0.01


@pytest.mark.parametrize("quality", [25, 60, 90])
def test_noise_of_jpeg(quality: int, tmp_path: Path) -> None:
    """Also when it was saved again as PNG."""
    reading = read(jpeg(labels((DISC, 255)), quality), tmp_path)
    assert (reading.mask != expect(DISC)).mean() < 0.01


LABEL_MAPS = {
    "grey, 255 is a rim": (labels((RIM, 255), (A, 15)), A, RIM),
    "grey, 255 beside class numbers": (labels((A, 1), (B, 7), (C, 255)), A | B, C),
    "grey, numbers of instances": (labels((A, 1), (B, 2), (C, 3)), A | B | C, None),
    "grey levels of a user": (labels((A, 64), (B, 128), (C, 200)), A | B | C, None),
    "grey, numbers up to 255": (labels((A, 253), (B, 254), (C, 255)), A | B | C, None),
    "16 bit": (labels((A, 24001), (B, 26003), dtype=np.uint16), A | B, None),
    "16 bit, a rim": (labels((RIM, 65535), (A, 7), dtype=np.uint16), A, RIM),
    "16 bit, instance 255": (labels((A, 255), (B, 300), dtype=np.uint16), A | B, None),
    "RGB": (colours((A, RED), (B, GREEN)), A | B, None),
    "RGB, a white rim": (colours((RIM, (255, 255, 255)), (A, GREEN)), A, RIM),
    "RGB, VOC": (VOC.convert("RGB"), A | B, RIM),
    "numbers in the red channel": (colours((A, (1, 0, 0)), (B, (9, 0, 0))), A | B, None),
    "palette, VOC": (VOC, A | B, RIM),
    "palette, black is not first": (
        palette(labels((~(A | B), 2), (B, 1)), RED, GREEN, (0, 0, 0)),
        A | B,
        None,
    ),
}


@pytest.mark.parametrize("kind", LABEL_MAPS)
def test_label_maps(kind: str, tmp_path: Path) -> None:
    """All that is neither background nor "ignore" is the object; nothing that is dark is lost."""
    image, is_object, ignore = LABEL_MAPS[kind]
    assert np.array_equal(read(image, tmp_path).mask, expect(is_object, ignore))


def test_several_classes_are_noted(tmp_path: Path) -> None:
    (note,) = read(VOC, tmp_path).notes
    what = "holds 2 classes or instances (5 = #800080, 15 = #c08080)"
    assert note == f"{what}, all of them read as the object; mask_class picks one"


@pytest.mark.parametrize("kind", ["RGB", "grey, 255 is a rim", "RGB, VOC"])
def test_label_maps_after_jpeg(kind: str, tmp_path: Path) -> None:
    """What is clear stays; what the noise has mixed is ignored rather than guessed."""
    image, is_object, ignore = LABEL_MAPS[kind]
    mask = read(image, tmp_path, kind="JPEG").mask
    right = expect(is_object, ignore)
    wrong = (mask != right) & (mask != 255)
    assert wrong.mean() < 0.01 and (mask == 1).sum() > 0.85 * is_object.sum()
    if ignore is not None:
        assert (mask[ignore] == 255).mean() > 0.8


PICKED = {
    "grey": (labels((A, 1), (B, 2)), 2, B),
    "grey, 255 as a class": (labels((A, 64), (B, 255)), 255, B),
    "grey, not the one like ignore": (labels((A, 64), (B, 255)), 64, A),
    "grey, all of them": (labels((A, 64), (B, 255)), "any", A | B),
    "VOC by number": (VOC, 15, A),
    "VOC by colour": (VOC, "#800080", B),
    "RGB by colour": (colours((A, RED), (B, GREEN)), "48,112,32", B),
    "red on white": (colours((A, RED), ground=(255, 255, 255)), "#fa3253", A),
    "inverted": (Image.fromarray(np.where(A, 0, 255).astype(np.uint8)), 0, A),
    "inverted, soft": (Image.fromarray(255 - np.asarray(soft(A, 0.6))), 0, A),
    "numbers from 1 on": (Image.fromarray(np.where(A, 2, 1).astype(np.uint8)), 2, A),
    "opaque": (transparent(Image.fromarray(NOISE), A), "alpha", A),
}


@pytest.mark.parametrize("kind", PICKED)
def test_mask_class(kind: str, tmp_path: Path) -> None:
    image, mask_class, is_object = PICKED[kind]
    mask = read(image, tmp_path, mask_class).mask
    assert ((mask == 1) != is_object).mean() < 0.001  # the corners of what is soft
    if image is VOC:
        assert (mask[RIM] == 255).all()


@pytest.mark.parametrize("middle", [127, 128, 120])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_trimaps(middle: int, kind: str, tmp_path: Path) -> None:
    unknown = box(16, 16, 64)
    known = box(32, 32, 32)
    mask = read(labels((unknown, middle), (known, 255)), tmp_path, kind=kind).mask
    assert np.array_equal(mask, expect(known, unknown & ~known))


def test_a_trimap_in_the_transparency(tmp_path: Path) -> None:
    unknown, known = box(16, 16, 64), box(32, 32, 32)
    image = Image.fromarray(NOISE).convert("RGBA")
    image.putalpha(labels((unknown, 128), (known, 255)))
    assert np.array_equal(read(image, tmp_path).mask, expect(known, unknown & ~known))


CUT_OUTS = {
    "photo": transparent(Image.fromarray(NOISE), A),
    "photo, hidden part white": transparent(
        Image.fromarray(np.where(A[..., None], NOISE, 255).astype(np.uint8)), A
    ),
    "one colour": transparent(colours(ground=(40, 40, 40)), A),
    "black": transparent(colours(), A),
    "labels": transparent(colours((box(10, 10, 15), RED), ground=GREEN), A),
    "drawn in black and white": transparent(
        colours((A, (255, 255, 255))), box(0, 0, 80)
    ),
    "grey": labels((A, 200)).convert("LA"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CUT_OUTS)
@pytest.mark.parametrize("suffix", ["PNG", "WEBP", "TIFF"])
def test_cut_outs(kind: str, suffix: str, tmp_path: Path) -> None:
    mask = read(CUT_OUTS[kind], tmp_path, kind=suffix).mask
    assert ((mask == 1) != A).mean() < 0.001


def test_a_half_transparent_overlay(tmp_path: Path) -> None:
    image = colours((A, RED)).convert("RGBA")
    image.putalpha(labels((A, 100)))
    assert np.array_equal(read(image, tmp_path).mask, expect(A))


REFUSED = {
    "grey, a class or ignore": (
        labels((A, 64), (B, 128), (C, 255)),
        'holds 0 (81%), 64 (6%), 128 (6%), 255 (6%): is 255 a class, or "ignore"? Add '
        '"mask_class": "any" (all of them are the object) or one of 64, 128 or 255',
    ),
    "a trimap or two classes": (
        labels((A, 128), (B, 255)),
        'holds 0 (88%), 128 (6%), 255 (6%): a trimap, or two classes? Add "mask_class": "trimap" '
        '(mid grey is ignored), "any" (both are object) or one of 128 or 255',
    ),
    "no black": (
        colours((A, RED), ground=(255, 255, 255)),
        "holds #fa3253 (6%), #ffffff (94%) and no black, so nothing says which is the background; "
        'add "mask_class": "#fa3253" or "#ffffff", whichever is the object, or make the background '
        "black",
    ),
    "numbers from 1 on": (
        Image.fromarray(np.where(A, 2, np.where(B, 3, 1)).astype(np.uint8)),
        "holds 1 (88%), 2 (6%), 3 (6%) and no 0 (black), so nothing says which is the background; "
        'add "mask_class": 1, 2 or 3, whichever is the object, or make the background black',
    ),
    "RGB, white as a class": (
        colours((A, RED), (B, (255, 255, 255))),
        'holds #000000 (88%), #fa3253 (6%), #ffffff (6%): is #ffffff a class, or "ignore"? Add '
        '"mask_class": "any" (all of them are the object) or one of "#fa3253" or "#ffffff"',
    ),
    "void alone": (
        palette(labels((A, 255)), *voc_palette()),
        'holds 0 = #000000 (94%), 255 = #e0e0c0 (6%), which means "ignore": no object is left; add '
        '"mask_class": "any" if that is the object',
    ),
    "a photo": (
        Image.fromarray(NOISE),
        "looks like a photo, not like a mask: it has no areas of one value; save the mask as a "
        "black and white PNG",
    ),
    "a grey photo": (
        Image.fromarray(NOISE[..., 0]),
        "looks like a photo, not like a mask: it has no areas of one value; save the mask as a "
        "black and white PNG",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_two_readings_are_refused(kind: str, tmp_path: Path) -> None:
    image, problem = REFUSED[kind]
    with pytest.raises(InputError) as error:
        read(image, tmp_path)
    assert error.value.problems == (f"{tmp_path}/mask: {problem}",)


@pytest.mark.parametrize(
    ("mask_class", "problem"),
    [
        (9, "holds 0 (88%), 1 (6%), 2 (6%) and no 9; correct mask_class"),
        ("#ff0000", "holds 0 (88%), 1 (6%), 2 (6%) and no #ff0000; correct mask_class"),
        ("alpha", 'is not transparent anywhere, but "mask_class" is "alpha"'),
    ],
)
def test_a_class_that_is_not_there(mask_class: MaskClass, problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read(labels((A, 1), (B, 2)), tmp_path, mask_class)
    assert error.value.problems == (f"{tmp_path}/mask: {problem}",)


def test_class_numbers_do_not_survive_jpeg(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not keep class numbers; save it as PNG"):
        read(labels((A, 1), (B, 20)), tmp_path, kind="JPEG")


def test_a_number_is_not_a_colour(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="colours, not class numbers; give mask_class as a colour"):
        read(colours((A, RED), (B, GREEN)), tmp_path, 1)


def test_an_inverted_mask_is_noted(tmp_path: Path) -> None:
    (note,) = read(Image.fromarray(np.where(A, 0, 255).astype(np.uint8)), tmp_path).notes
    what = "the object covers 94% of the picture and touches all four borders"
    assert note == f'{what}; if the object is what is black, add "mask_class": 0'


def test_borders_size_and_specks_are_noted(tmp_path: Path) -> None:
    cross = np.zeros((SIDE, SIDE), dtype=bool)
    cross[50:60], cross[:, 50:60] = True, True
    assert read(labels((cross, 255)), tmp_path).notes == ("the object touches all four borders",)
    most = box(1, 1, SIDE - 2)
    assert read(labels((most, 255)), tmp_path).notes == ("the object covers 97% of the picture",)
    speck = box(90, 90, 1) | box(100, 100, 1)
    (note,) = read(labels((A | speck, 255)), tmp_path).notes
    assert note == "the object has 2 pieces of next to no size (specks?)"
    assert read(labels((A, 255), (B, 255)), tmp_path).notes == ()

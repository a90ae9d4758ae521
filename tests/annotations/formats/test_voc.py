from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligndiff.dataset.colour_map import VOID_COLOUR, colour_map
from aligndiff.dataset.images import Uint8, encode_palette
from tests.preparation.made_sources import (
    ELL,
    SQUARE,
    masks_of,
    only_mask,
    prepare,
    refused,
    save,
    save_photo,
)

RIM = np.zeros_like(ELL)
RIM[5, 3:21] = 1
BOTTLE, PERSON = 5, 15
LABELS = (ELL * BOTTLE + SQUARE * PERSON + RIM * 255).astype(np.uint8)
IGNORED = RIM * np.uint8(255)


def voc(source: Path, labels: Uint8 | bytes = LABELS, name: str = "1") -> None:
    save_photo(source / "JPEGImages" / f"{name}.jpg", int(name))
    path = source / "SegmentationClass" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    if isinstance(labels, bytes):
        path.write_bytes(labels)
    else:
        save(path, labels)


PALETTE = encode_palette(LABELS, colour_map())
IN_COLOURS = colour_map()[LABELS]


@pytest.mark.parametrize(
    "labels", [PALETTE, LABELS, IN_COLOURS], ids=["palette", "grey numbers", "colours"]
)
def test_vocs_own_classes(source: Path, labels: Uint8 | bytes) -> None:
    voc(source, labels)
    dataset = prepare(source)
    assert (only_mask(dataset, "bottle") == ELL | IGNORED).all()
    assert (only_mask(dataset, "person") == SQUARE | IGNORED).all()


def test_a_labelmap_names_colours_and_indices_play_no_part(source: Path) -> None:
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[BOTTLE], colours[PERSON], colours[255] = (250, 50, 83), (48, 112, 32), (224, 224, 192)
    voc(source, colours[LABELS])
    voc(source, encode_palette(LABELS, colours), "2")
    lines = (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nfish:250,50,83::\nbird:48,112,32::\n"
    )
    (source / "labelmap.txt").write_text(lines)
    dataset = prepare(source)
    assert [(mask == ELL | IGNORED).all() for mask in masks_of(dataset)] == [True, True]
    assert [(mask == SQUARE | IGNORED).all() for mask in masks_of(dataset, "bird")] == [True, True]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_names.txt", "__ignore__\n_background_\nfish\n"),
        ("labels.txt", "background\nfish\n"),
    ],
)
def test_lists_of_names(source: Path, file: str, text: str) -> None:
    voc(source, encode_palette(ELL, colour_map()))
    (source / file).write_text(text)
    assert (only_mask(prepare(source)) == ELL).all()


def test_voc2012_within_its_folders_and_instances_beside(source: Path) -> None:
    root = source / "VOCdevkit" / "VOC2012"
    root.mkdir(parents=True)
    voc(root, PALETTE)
    save(root / "SegmentationObject" / "1.png", ELL)
    (root / "Annotations").mkdir()
    (root / "Annotations" / "1.xml").write_text("<annotation><object/></annotation>")
    assert (only_mask(prepare(source, "--category", "bottle"), "bottle") == ELL | IGNORED).all()


def test_unknown_colours_and_a_bad_labelmap_are_named(source: Path) -> None:
    voc(source, np.repeat(ELL[..., None], 3, 2) * np.array([7, 8, 9], dtype=np.uint8))
    assert "holds colours that are no class ((7, 8, 9)); put labelmap.txt" in refused(source)
    (source / "labelmap.txt").write_text("fish:1,2\n")
    assert "labelmap.txt: 'fish:1,2' is no line name:r,g,b::" in refused(source)


def test_a_mask_of_another_size_is_named(source: Path) -> None:
    voc(source, encode_palette(LABELS[:-1], colour_map()))
    assert "the mask is 32 x 23 px, the photo 32 x 24" in refused(source)


def test_a_palette_written_by_pillow(source: Path) -> None:
    voc(source)
    image = Image.fromarray(LABELS)
    image.putpalette(colour_map().ravel().tolist())
    image.save(source / "SegmentationClass" / "1.png")
    assert (only_mask(prepare(source, "--category", "person"), "person") == SQUARE | IGNORED).all()


def test_the_void_colour_is_that_of_255() -> None:
    assert tuple(colour_map()[255]) == VOID_COLOUR

"""Small data in the layouts of PASCAL-5i, COCO-20i and FSS-1000, drawn for the tests."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from aligndiff.dataset.images import write_grey, write_image

SIZE = 80, 100  # (h, w) of every photo
PER_CLASS = 3  # photos of each class of fold 0


def photo(seed: int, label: int, border: bool) -> tuple[np.ndarray, np.ndarray]:
    """An ellipse of class `label` beside a bar of class 9, which is of another fold.

    uint8 (h, w, 3) and its class numbers, uint8 (h, w); with `border` 255 around the ellipse.
    """
    rng = np.random.default_rng(seed)
    image = rng.integers(30, 110, (*SIZE, 3), dtype=np.uint8)
    labels = np.zeros(SIZE, np.uint8)
    centre = int(rng.integers(38, 44)), int(rng.integers(36, 44))
    shape = np.zeros(SIZE, np.uint8)
    cv2.ellipse(shape, centre, (32, 26), 0, 0, 360, 1, -1)
    if border:
        labels[cv2.dilate(shape, np.ones((5, 5), np.uint8)) > 0] = 255
    labels[shape > 0] = label
    labels[:, 90:] = 9
    image[shape > 0] = (230, 40 * (label % 6), 20)
    image[:, 90:] = (20, 60, 230)
    return image, labels


def draw_pascal(root: Path, with_list: bool = True) -> Path:
    """Fold 0's five classes, PER_CLASS photos each; returns `root`, the data_dir."""
    voc, lines = root / "VOC2012", []
    voc.mkdir(parents=True)
    palette = [level for colour in range(256) for level in (colour, 255 - colour, colour // 2)]
    for label in range(1, 6):
        for number in range(PER_CLASS):
            name = f"2007_{label:03d}{number:03d}"
            image, labels = photo(10 * label + number, label, border=True)
            write_image(voc / "JPEGImages" / f"{name}.jpg", image)
            indexed = Image.fromarray(labels)
            indexed.putpalette(palette)
            (voc / "SegmentationClassAug").mkdir(parents=True, exist_ok=True)
            indexed.save(voc / "SegmentationClassAug" / f"{name}.png")
            lines.append(f"{name}__{label:02d}")
    _write(voc / "ImageSets" / "Segmentation" / "val.txt", [line[:-4] for line in lines])
    if with_list:
        _write(root / "splits" / "pascal" / "val" / "fold0.txt", lines)
    return root


def draw_coco(root: Path, pickled: bool = True) -> Path:
    """Fold 1's twenty classes (2, 6, 10, ...), two photos each, masks grey with a bit of 255."""
    coco, table = root / "COCO2014", dict[int, list[str]]()
    (coco / "annotations").mkdir(parents=True)
    for label in range(2, 81, 4):
        for number in range(2):
            name = f"val2014/COCO_val2014_{100 * label + number:012d}"
            image, labels = photo(100 * label + number, label, border=True)
            write_image(coco / f"{name}.jpg", image)
            write_grey(coco / "annotations" / f"{name}.png", labels)
            table.setdefault(label - 1, []).append(f"{name}.jpg")
    if pickled:
        path = root / "splits" / "coco" / "val" / "fold1.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(pickle.dumps(table))
    return root


def draw_fss(root: Path) -> Path:
    """Three classes of four photos, two of them for testing; masks are black and white RGB."""
    for label, category in enumerate(("abacus", "zebra", "kite")):
        (root / "FSS-1000" / category).mkdir(parents=True)
        for number in range(1, 5):
            image, labels = photo(1000 * (label + 1) + number, 1, border=False)
            folder = root / "FSS-1000" / category
            write_image(folder / f"{number}.jpg", image)
            mask = np.repeat((labels == 1)[..., None], 3, axis=2)
            write_image(folder / f"{number}.png", mask.astype(np.uint8) * np.uint8(255))
    _write(root / "splits" / "fss" / "test.txt", ["zebra", "abacus"])
    return root


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")

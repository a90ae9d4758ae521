"""Small data in the layouts of the few-shot benchmarks, drawn for the tests."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict, defaultdict
from enum import IntEnum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as reference

from aligndiff.dataset.images import write_grey, write_image

SIZE = 80, 100  # (h, w) of every photo
PER_CLASS = 3  # photos of each class of fold 0
HEAD_END, BOX = 40, (2, 5, 88, 75)  # of PASCAL-Part: the column where a head ends; every object's


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


class Mode(IntEnum):
    """Stands for the enum of boxes that detectron2 leaves in Matcher's pickle."""

    XYWH = 1


def draw_lvis(root: Path, classes: int = 21, pickled: bool = True) -> Path:
    """Classes 7, 14, 21, ... with two photos each, two of COCO's training, the last with one.

    Matcher's pickle lists them from the last to the first, LVIS's own file by number.
    """
    lvis, images, annotations = root / "LVIS", list[dict[str, Any]](), list[dict[str, Any]]()
    for split in ("train2017", "val2017"):
        (lvis / "coco" / split).mkdir(parents=True, exist_ok=True)
    for number in range(1, classes + 1):
        for copy in range(1 if number == classes else 2):
            photo_id = 1000 * number + copy
            name = f"{'train' if number == 1 else 'val'}2017/{photo_id:012d}.jpg"
            image, labels = photo(photo_id, 1, border=False)
            write_image(lvis / "coco" / name, image)
            images.append({"id": photo_id, "coco_url": f"http://images.example.org/{name}"})
            outlines, _ = cv2.findContours(
                (labels == 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            annotations.append(
                {
                    "image_id": photo_id,
                    "category_id": 7 * number,
                    "segmentation": [outlines[0].ravel().astype(float).tolist()],
                }
            )
    names = {7 * number: f"thing_{number}" for number in range(1, classes + 1)}
    if not pickled:
        categories = [{"id": number, "name": name} for number, name in names.items()]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (lvis / "lvis_v1_val.json").write_text(json.dumps(content))
        return root
    files = {image["id"]: "/".join(image["coco_url"].split("/")[-2:]) for image in images}
    table: dict[int, dict[str, Any]] = defaultdict(OrderedDict)
    for one in reversed(annotations):
        shown = {"annotations": [{"segmentation": one["segmentation"], "bbox_mode": Mode.XYWH}]}
        table[one["category_id"]][files[one["image_id"]]] = shown
    (lvis / "lvis_val.pkl").write_bytes(pickle.dumps(table))
    return root


def draw_pascal_part(root: Path) -> Path:
    """Super-category animals: three photos, each of a cat without a head and a dog with one.

    A dog's head, the ellipse's left half, is in two pieces. What no training photo shows, and
    aeroplane+TAIL, are no classes.
    """
    voc = root / "Pascal-Part" / "VOCdevkit" / "VOC2010"
    folder = voc / "Annotations_Part_json_merged_part_classes"
    folder.mkdir(parents=True)
    names = [f"2008_{number:06d}" for number in range(3)]
    for number, name in enumerate(names):
        image, labels = photo(500 + number, 1, border=False)
        write_image(voc / "JPEGImages" / f"{name}.jpg", image)
        head, upper = labels == 1, np.arange(SIZE[0])[:, None] < 30
        head[:, HEAD_END:] = False
        pieces = [_compressed(head & upper), _compressed(head & ~upper)]
        tail = _compressed((labels == 1) & ~head)
        things = [_thing("cat", "TAIL", [tail]), _thing("dog", "HEAD", pieces)]
        (folder / f"{name}.json").write_text(json.dumps({"object": things}))
    both, tested = {"train": ["2008_000900"], "val": names}, {"train": [], "val": names}
    parts = {
        "cat": {"HEAD": both, "TAIL": both},
        "dog": {"HEAD": both, "EYE": tested},
        "aeroplane": {"TAIL": both},
    }
    index = {"animals": {"object": {thing: {"part": of_it} for thing, of_it in parts.items()}}}
    (voc / "all_obj_part_to_image.json").write_text(json.dumps(index))
    return root


def _thing(name: str, part: str, masks: list[dict[str, Any]]) -> dict[str, Any]:
    left, top, right, bottom = BOX
    box = {"xmin": str(left), "ymin": str(top), "xmax": str(right), "ymax": str(bottom)}
    return {"name": name, "bndbox": box, "parts": [{"name": part, "mask": masks}]}


def _compressed(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths of bool (h, w) as pycocotools writes them."""
    encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")

"""A made dataset with awkward names and shapes, and what its files must say when read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from aligndiff.core.files import write_json
from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord
from aligndiff.export.config import SelectionConfig
from aligndiff.export.export import export
from aligndiff.export.formats.table import FORMATS
from aligndiff.export.job import ExportJob, FormatChoice
from aligndiff.export.selection import select

# Two that differ in case only, marks of every format, no plain letter, a name of a split.
CATEGORIES = ("fish", "Fish", "a \"b\"/c: #1 | \\ '<d>'", "魚", "train")
SELECTION: dict[str, Any] = {"val_fraction": 0.4, "include_support": True}


@dataclass(frozen=True)
class Made:
    """A dataset and the truth: by name the sample's mask, uint8 (h, w) of 0 and 1, and image."""

    root: Path
    masks: dict[str, np.ndarray]
    images: dict[str, Path]
    categories: dict[str, str]


Export = Callable[..., ExportJob]


def make_dataset(root: Path, image_format: str = "jpg") -> Made:
    """Six entries of five categories, each with samples 0 to 2 refined and 3 rejected."""
    made = Made(root, {}, {}, {})
    _write_support(root / "pairs")
    texts = [(category, f"a photo of {category}") for category in CATEGORIES]
    texts.append(("fish", "another\nfish, [see](http://x.y) `it` <b>here</b> | a *bold* one"))
    entries = [
        {"type": "text", "category": category, "D_good_dir": "pairs", "text": text}
        for category, text in texts
    ]
    root.joinpath("dataset.json").write_text(json.dumps({"prompt_dataset": entries}))
    for number, entry in enumerate(load_prompt_bank(root).entries):
        place = EntryFolder(root, entry)
        place.make()
        prompt = entry.prompt()
        record = EntryRecord(entry.id, "text", entry.category, prompt, "pairs", "m|n", {}, "f")
        record.write(place.entry_json)
        write_json(place.folder / "refinement.json", {"settings": {"heatmap_threshold": 0.6}})
        for index in range(4):
            _write_sample(made, place, index, 10 * number + index, image_format)
    return made


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Do not write into it."""
    return make_dataset(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def made_as_png(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The same, of png images. Do not write into it."""
    return make_dataset(tmp_path_factory.mktemp("made_as_png"), "png")


@pytest.fixture
def own(tmp_path: Path) -> Made:
    """A dataset of one's own."""
    return make_dataset(tmp_path / "own")


def choose(form: str, **options: Any) -> FormatChoice:
    """A format with options of its own."""
    kinds = {kind: {item.name for item in fields(kind)} for kind in FORMATS[form].options}
    assert not options.keys() - set().union(*kinds.values())
    made = tuple(
        kind(**{name: options[name] for name in names & options.keys()})
        for kind, names in kinds.items()
    )
    return FormatChoice(FORMATS[form], made)


@pytest.fixture
def exported(made: Made, tmp_path: Path) -> Export:
    """Export it in a format with options, `selection` among them; the job's folder is the result"""

    def run(
        form: str, selection: dict[str, Any] = SELECTION, root: Path = made.root, **options: Any
    ) -> ExportJob:
        bank, target = load_prompt_bank(root), tmp_path / "out" / form
        chosen = select(bank, SelectionConfig(**selection))
        job = export(bank, chosen, choose(form, **options), target, lambda: None)
        job.folder = target
        return job

    return run


def shapes(seed: int, size: tuple[int, int]) -> np.ndarray:
    """An ellipse with holes, one of them near the border, an islet and a pixel: uint8 (h, w)."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    centre = (int(width * rng.uniform(0.4, 0.6)), int(height * rng.uniform(0.4, 0.6)))
    axes = (width // 3, height // 4)
    cv2.ellipse(mask, centre, axes, float(rng.integers(0, 90)), 0, 360, 1, -1)
    cv2.circle(mask, centre, 3, 0, -1)
    cv2.circle(mask, (centre[0] + 8, centre[1]), 2, 0, -1)
    mask[:4, :6] = 1
    mask[-2, -3] = 1
    return mask


def _write_sample(made: Made, place: EntryFolder, index: int, seed: int, image_format: str) -> None:
    size = (48, 64) if seed % 2 else (56, 40)
    mask = shapes(seed, size)
    image = np.random.default_rng(seed).integers(0, 120, (*size, 3), dtype=np.uint8)
    image[mask > 0] += 100
    heatmap = cv2.GaussianBlur(mask * np.float32(255), (0, 0), 2.5).astype(np.uint8)
    write_image(place.image_path(index, image_format), image)
    write_grey(place.heatmap_path(index), heatmap)
    if index == 3:
        record = SampleRecord(index, seed, "rejected", image_format, "f", None, 0.1, "no", "r")
    else:
        write_mask(place.mask_path(index), mask > 0)
        source, iou = (("consensus", 0.9), ("pseudo_label", 0.3), ("pseudo_label", 0.5))[index]
        record = SampleRecord(index, seed, "refined", image_format, "f", source, iou, None, "r")  # type: ignore[arg-type]
        name = f"{place.entry.id}_{index:06d}"
        made.masks[name], made.categories[name] = mask, place.entry.category
        made.images[name] = place.image_path(index, image_format)
    record.write(place.record_path(index))


def _write_support(folder: Path) -> None:
    """Two pairs: a photo that lies on its side by EXIF, and one whose mask ignores its border."""
    folder.mkdir(parents=True)
    image = np.random.default_rng(5).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 8:30] = 1
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "a camera"
    Image.fromarray(image).save(folder / "1.jpg", quality=95, exif=exif)
    Image.fromarray(np.rot90(mask, -1) * np.uint8(255)).save(folder / "1.png")
    mask[4, 7:31] = 255
    Image.fromarray(image).save(folder / "2.jpg", quality=95)
    palette = Image.fromarray(mask)
    palette.putpalette([0, 0, 0, 128, 0, 0] + [9, 9, 9] * 254)
    palette.save(folder / "2.png")

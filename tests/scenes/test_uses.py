"""Who uses scenes afterwards: exports, the gallery, the training, the score of masks."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from aligndiff.dataset.images import read_labels, write_mask
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.scenes import StoredScene, stored_scenes
from aligndiff.evaluation.mask_pairs import find_mask_pairs
from aligndiff.export.config import SelectionConfig
from aligndiff.export.selection import is_for_validation, select
from aligndiff.training.episodes import draw_pairs, random_view
from aligndiff.training.pairs import collect_pairs
from scripts import compose_scenes, export_dataset, view_dataset

FORMATS = ("coco", "voc", "yolo", "fss1000", "imagefolder", "webdataset")


@pytest.fixture
def composed(refined_dir: Path, photos: Path) -> Path:
    """The dataset with ten scenes of each category, some without the object."""
    words = ["--dataset_dir", str(refined_dir), "--backgrounds", str(photos), "--no_sheet"]
    assert compose_scenes.main([*words, "--count", "10", "--image_format", "png"]) == 0
    return refined_dir


@pytest.fixture
def scenes(composed: Path) -> list[StoredScene]:
    return list(stored_scenes(load_prompt_bank(composed)))


def test_every_format_holds_scenes(composed: Path, scenes: list[StoredScene]) -> None:
    negatives = {scene.name for scene in scenes if scene.is_negative}
    assert 0 < len(negatives) < len(scenes)
    for name in FORMATS:
        words = ["--dataset_dir", str(composed), "--format", name, "--sources", "scene"]
        assert export_dataset.main([*words, "--val_fraction", "0"]) == 0
        held = set(_names(composed / "exports" / name, name))
        left_out = negatives if name == "fss1000" else set()
        assert held == {scene.name for scene in scenes} - left_out, name
        assert export_dataset.main([*words, "--val_fraction", "0"]) == 0  # nothing to do


def _names(folder: Path, name: str) -> Iterator[str]:
    if name == "fss1000":
        for line in (folder / "splits" / "train.txt").read_text().splitlines():
            yield line.split("\t")[1]
    elif name == "webdataset":
        for path in folder.glob("*.tar"):
            with tarfile.open(path) as tar:
                yield from (Path(n).stem for n in tar.getnames() if n.endswith(".json"))
    else:
        images = [p for p in folder.rglob("*") if p.suffix in (".png", ".jpg")]
        masks = ("masks", "SegmentationClass")
        yield from (path.stem for path in images if path.parent.name not in masks)


def test_voc_ignores_the_pasted_edges(composed: Path, scenes: list[StoredScene]) -> None:
    words = ["--dataset_dir", str(composed), "--format", "voc", "--sources", "scene"]
    assert export_dataset.main(words) == 0
    ignored = 0
    for scene in scenes:
        path = composed / "exports" / "voc" / "SegmentationClass" / f"{scene.name}.png"
        if not path.exists():  # it shows a sample of the validation split
            continue
        mask = scene.read_mask()
        assert ((read_labels(path) == 255) == (mask == 255)).all()
        ignored += int((mask == 255).sum())
    assert ignored > 0


def test_no_scene_gives_the_validation_split_away(composed: Path) -> None:
    config = SelectionConfig(val_fraction=0.4)
    selection = select(load_prompt_bank(composed), config)
    kept = [item for item in selection.items if item.source == "scene"]
    assert kept and all(selection.split(item) == "train" for item in kept)
    assert not any(is_for_validation(name, config) for item in kept for name in item.made_of)
    assert selection.left_out["scenes with a sample of the validation split"] > 0


def test_an_excluded_sample_takes_its_scenes_along(
    composed: Path, scenes: list[StoredScene], tmp_path: Path
) -> None:
    name = next(iter(next(scene for scene in scenes if scene.samples).samples))
    (tmp_path / "bad.txt").write_text(f"{name}\n")
    selection = select(load_prompt_bank(composed), SelectionConfig(exclude=tmp_path / "bad.txt"))
    assert not any(name in item.made_of for item in selection.items)
    assert selection.left_out["scenes with a sample of --exclude"] > 0


def test_a_scene_that_was_marked_bad_is_left_out(
    composed: Path, scenes: list[StoredScene], tmp_path: Path
) -> None:
    (tmp_path / "bad.txt").write_text(f"{scenes[1].name}\n")
    bank = load_prompt_bank(composed)
    selection = select(bank, SelectionConfig(exclude=tmp_path / "bad.txt"))
    assert selection.left_out["--exclude"] == 1
    classes, _ = collect_pairs([bank], ["scene"], tmp_path / "bad.txt")
    names = {pair.name for pairs in classes for pair in pairs.synthetic}
    assert names == {scene.name for scene in scenes} - {scenes[1].name}


def test_a_negative_is_a_query_and_never_support(composed: Path) -> None:
    classes, known = collect_pairs([load_prompt_bank(composed)], ["real", "scene"])
    assert known["scenes"].startswith("20 (")
    drawn = [draw_pairs(classes[0], 3, 0.0, np.random.default_rng(seed)) for seed in range(40)]
    assert not any(pair.is_negative for pairs in drawn for pair in pairs[:-1])
    negatives = [pairs[-1] for pairs in drawn if pairs[-1].is_negative]
    assert negatives
    image, mask = negatives[0].read()
    _, seen = random_view(image, mask, 64, 1.25, np.random.default_rng(0))
    assert (seen == 0).any() and not (seen == 1).any()


def test_without_the_source_the_training_is_as_it_was(composed: Path) -> None:
    classes, known = collect_pairs([load_prompt_bank(composed)], ["real", "consensus"])
    assert "scenes" not in known
    assert not any(pair.name.startswith("scene-") for pairs in classes for pair in pairs.synthetic)


def test_the_gallery_shows_scenes_as_one_more_entry(
    composed: Path, scenes: list[StoredScene]
) -> None:
    assert view_dataset.main(["--dataset_dir", str(composed)]) == 0
    lines = (composed / "gallery" / "data.js").read_text().splitlines()
    entries = [
        json.loads(line.removeprefix("GALLERY.entries.push(").removesuffix(");"))
        for line in lines
        if line.startswith("GALLERY.entries.push(")
    ]
    shown = [entry for entry in entries if entry["type"] == "scene"]
    assert [entry["category"] for entry in shown] == ["fish", "albatross"]
    names = [row[0] for entry in shown for row in entry["samples"]]
    assert names == [scene.name for scene in scenes]
    pictures = composed / "gallery" / "pictures" / shown[0]["id"]
    assert len(list(pictures.glob("*_mask.png"))) == 10
    assert not list(pictures.glob("*_heatmap.png"))


def test_the_masks_of_scenes_can_be_scored(
    composed: Path, scenes: list[StoredScene], tmp_path: Path
) -> None:
    shown = next(scene for scene in scenes if not scene.is_negative)
    (tmp_path / "truth").mkdir()
    truth = cv2.dilate((shown.read_mask() == 1).astype(np.uint8), np.ones((3, 3))) > 0
    write_mask(tmp_path / "truth" / f"{shown.name}.png", truth)
    (pair,) = find_mask_pairs(composed, tmp_path / "truth").pairs
    assert (pair.category, pair.predicted) == (shown.category, shown.mask_file)

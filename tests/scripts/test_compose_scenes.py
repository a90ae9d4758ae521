"""The script that composes scenes as a user runs it: continuing, several processes, mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.images import write_image
from aligndiff.dataset.layout import SceneFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.scenes import stored_scenes
from scripts.compose_scenes import main
from tests.scenes.conftest import photos

__all__ = ["photos"]  # a fixture
COUNT = 12
Bytes = dict[str, bytes]


def compose(dataset: Path, photos: Path, *more: str) -> int:
    words = ["--dataset_dir", str(dataset), "--backgrounds", str(photos), "--count", str(COUNT)]
    return main([*words, "--no_sheet", *more])


def files(dataset: Path) -> Bytes:
    below = (path for path in (dataset / "scenes").rglob("*") if path.is_file())
    return {path.relative_to(dataset).as_posix(): path.read_bytes() for path in below}


def records(dataset: Path, category: str = "fish") -> list[dict[str, Any]]:
    folder = SceneFolder(dataset, category).folder / "samples"
    return [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


def test_scenes_and_what_their_records_say(refined_dir: Path, photos: Path) -> None:
    """The mask's area is the record's; what was pasted exists under its name."""
    assert compose(refined_dir, photos) == 0
    scenes = list(stored_scenes(load_prompt_bank(refined_dir)))
    assert len(scenes) == 2 * COUNT
    names = {path.stem for path in refined_dir.rglob("synthesized/*/samples/*.json")}
    for scene in scenes:
        image, mask = scene.read_image(), scene.read_mask()
        assert image.shape == (64, 64, 3) and mask.shape == (64, 64)
        assert scene.record.area == pytest.approx((mask == 1).mean(), abs=1e-6)
        assert scene.is_negative == (not (mask == 1).any())
        for part in scene.record.parts:
            if part.source == "sample":
                assert part.name.rsplit("_", 1)[1] in {name.split("_")[1] for name in names}
            elif part.source == "background":
                assert (photos.parent / part.name).is_file()
            else:
                assert (refined_dir / f"{part.name}.jpg").is_file()
    shown = [scene for scene in scenes if not scene.is_negative]
    assert 0 < len(scenes) - len(shown) < len(scenes) // 2
    sources = {part.source for scene in scenes for part in scene.record.parts}
    assert sources == {"background", "sample", "pair", "other pair"}


def test_two_workers_make_the_same_bytes(refined_dir: Path, photos: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(refined_dir, tmp_path / "other"))
    assert compose(refined_dir, photos) == 0
    assert compose(other, photos, "--workers", "2", "--count", str(COUNT + 8)) == 0
    alone, together = files(refined_dir), files(other)
    assert {name: together[name] for name in alone} == alone
    assert len(together) == len(alone) + 2 * 3 * 8


def test_a_run_goes_on_with_what_is_missing(refined_dir: Path, photos: Path) -> None:
    assert compose(refined_dir, photos) == 0
    whole, place = files(refined_dir), SceneFolder(refined_dir, "fish")
    place.record_path(3).unlink()
    place.mask_path(5).unlink()
    stamps = {name: (refined_dir / name).stat().st_mtime_ns for name in files(refined_dir)}
    assert compose(refined_dir, photos) == 0
    assert files(refined_dir) == whole
    again = {n for n, stamp in stamps.items() if (refined_dir / n).stat().st_mtime_ns != stamp}
    assert again == {
        path.relative_to(refined_dir).as_posix()
        for index in (3, 5)
        for path in (place.image_path(index, "jpg"), place.mask_path(index))
        if index == 3 or path != place.mask_path(5)
    } | {place.record_path(5).relative_to(refined_dir).as_posix()}


def test_other_settings_are_refused_and_overwrite_replaces(refined_dir: Path, photos: Path) -> None:
    assert compose(refined_dir, photos) == 0
    first = files(refined_dir)
    with pytest.raises(InputError, match=r"other settings \(seed was 0, now 1\).*--overwrite"):
        compose(refined_dir, photos, "--seed", "1")
    shutil.rmtree(refined_dir / "synthesized" / records_entry(refined_dir))
    with pytest.raises(InputError, match="instances was "):
        compose(refined_dir, photos)
    assert compose(refined_dir, photos, "--seed", "1", "--count", "4", "--overwrite") == 0
    assert len(records(refined_dir)) == 4
    assert all(first.get(name) != data for name, data in files(refined_dir).items())


def records_entry(dataset: Path) -> str:
    """The folder of the embedding entry's samples, so that fish has fewer of them."""
    bank = load_prompt_bank(dataset)
    return next(entry.id for entry in bank.entries if entry.type == "NM_embedding")


def test_an_unreadable_sample_costs_its_scenes_alone(refined_dir: Path, photos: Path) -> None:
    images = list(refined_dir.glob("synthesized/fish-*/generated_images/image_000000.png"))
    whole = {path: path.read_bytes() for path in images}
    for path, data in whole.items():
        path.write_bytes(data[:100])
    assert compose(refined_dir, photos, "--side", "64", "--sources", "consensus") == 1
    place = SceneFolder(refined_dir, "fish")
    failed = place.failed_indices()
    assert failed and not set(failed) & set(place.indices())
    assert len(failed) + len(place.indices()) == COUNT
    for path, data in whole.items():
        path.write_bytes(data)
    assert compose(refined_dir, photos, "--side", "64", "--sources", "consensus") == 0
    assert place.failed_indices() == [] and len(place.indices()) == COUNT


def test_what_cannot_be_composed_is_told_before(
    dataset_dir: Path, refined_dir: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.jpg").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    shown = tmp_path / "fish"
    shown.mkdir()
    write_image(shown / "1.png", np.zeros((80, 80, 3), dtype=np.uint8))
    for folder, more, message in (
        (tmp_path / "nowhere", [], "no such folder; --backgrounds takes folders"),
        (tmp_path / "bad", [], "1.jpg: not a readable image"),
        (tmp_path / "empty", [], "holds no files"),
        (shown, ["--categories", "fish"], "fish: every background shows one"),
        (photos, ["--side", "80"], r"5 of 5 backgrounds are smaller than the scenes, 80 x 80 px"),
    ):
        with pytest.raises(InputError, match=message):
            compose(refined_dir, folder, *more)
    with pytest.raises(InputError, match="no backgrounds: .*scripts.draw_backgrounds"):
        main(["--dataset_dir", str(refined_dir)])
    shutil.rmtree(refined_dir / "synthesized")
    with pytest.raises(InputError, match=r"mask_generation .*--sources real") as told:
        compose(refined_dir, photos, "--side", "64")
    assert len(told.value.problems) == 2  # one for each category
    assert not (refined_dir / "scenes").exists()
    assert compose(refined_dir, photos, "--side", "64", "--sources", "real") == 0


def test_annotated_backgrounds_bring_other_things(refined_dir: Path, photos: Path) -> None:
    """COCO: a car is pasted elsewhere; the photo in which a fish is marked is no ground."""

    def outline(number: int, category: int) -> dict[str, Any]:
        return {
            **{"id": number, "image_id": number, "category_id": category, "iscrowd": 0},
            "segmentation": [[10, 10, 60, 10, 60, 50, 10, 50]],
        }

    images = [{"id": n, "file_name": f"{n}.png", "height": 72 + n, "width": 90} for n in range(5)]
    content = {
        "images": images,
        "annotations": [outline(0, 1), outline(1, 2)],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "Fish"}],
    }
    (photos / "instances.json").write_text(json.dumps(content))
    assert compose(refined_dir, photos, "--categories", "fish", "--count", "40") == 0
    parts = [part for record in records(refined_dir) for part in record["parts"]]
    grounds = {part["name"] for part in parts if part["source"] == "background"}
    assert grounds == {f"photos/{number}.png" for number in (0, 2, 3, 4)}
    assert {part["name"] for part in parts if part["source"] == "thing"} == {"photos/0.png car"}

"""The gallery's pictures, what is measured on them, what is kept, and its data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import SampleRecord
from aligndiff.dataset.samples import stored_samples
from aligndiff.gallery.cache import draw_missing
from aligndiff.gallery.pictures import MaskStats, PictureFiles, draw_pictures, measured
from aligndiff.gallery.plan import Gallery, GalleryConfig, plan_gallery
from aligndiff.gallery.write import check_output, write_page
from aligndiff.render.overlay import MASK_COLOUR
from tests.made_samples import make_samples

COUNT = 6  # samples of each of the three entries


@pytest.fixture
def samples_dir(dataset_dir: Path) -> Path:
    make_samples(dataset_dir, COUNT)
    return dataset_dir


def plan(root: Path, **settings: int) -> Gallery:
    return plan_gallery(load_prompt_bank(root), root / "gallery", GalleryConfig(**settings))


def missing(gallery: Gallery) -> list[str]:
    return [item.name for chunk in gallery.chunks for item in chunk.missing]


def draw(gallery: Gallery) -> list[str]:
    chunks = list(gallery.chunks)
    draw_missing(chunks, lambda: None)
    return [problem for chunk in chunks for problem in chunk.problems]


def page_data(gallery: Gallery) -> dict[str, Any]:
    """data.js as a browser reads it, put together again."""
    write_page(gallery, "title")
    data: dict[str, Any] = {}
    for line in (gallery.output / "data.js").read_text("ascii").splitlines():
        if line.startswith("const GALLERY = "):
            data = json.loads(line.removeprefix("const GALLERY = ").removesuffix(";"))
        else:
            target, rest = line.removeprefix("GALLERY.").split(".push(", 1)
            data[target].append(json.loads(rest.removesuffix(");")))
    return data


def record_path(root: Path, entry: int, index: int) -> Path:
    bank = load_prompt_bank(root)
    return EntryFolder(bank.root, bank.entries[entry]).record_path(index)


def test_pictures_of_a_large_sample(tmp_path):
    image = np.full((400, 800, 3), 90, np.uint8)
    mask = np.zeros((400, 800), bool)
    mask[100:300, 200:600] = True
    heatmap = np.tile(np.linspace(0, 255, 800).astype(np.uint8), (400, 1))
    files = PictureFiles(tmp_path / "000007")
    stats = draw_pictures(files, image, heatmap, mask, 100)
    assert (stats.height, stats.width, stats.area) == (400, 800, 0.25)
    assert Image.open(files.thumbnail).size == (100, 50)
    assert Image.open(files.large).size == (512, 256)
    assert files.are_there(stats, 100, heatmap=True)

    layer = np.asarray(Image.open(files.mask).convert("RGBA"))
    assert layer.shape == (256, 512, 4)
    assert layer[128, 256, 3] == 0  # the object stays clear
    assert layer[5, 5, 3] > 100  # the background is in the shade
    assert tuple(layer[62, 256]) == (*MASK_COLOUR, 255)
    heat = np.asarray(Image.open(files.heatmap).convert("RGBA")).astype(int)
    assert heat.shape == (64, 128, 4)
    assert heat[32, 127, 0] > heat[32, 0, 0] and heat[32, 127, 3] > heat[32, 0, 3]


def test_a_small_sample_without_mask_has_two_pictures(tmp_path):
    files = PictureFiles(tmp_path / "000000")
    image = np.zeros((40, 30, 3), np.uint8)
    assert draw_pictures(files, image, image[..., 0], None, 100) == MaskStats(40, 30)
    assert {path.name for path in tmp_path.iterdir()} == {"000000.jpg", "000000_heatmap.png"}
    assert Image.open(files.thumbnail).size == (30, 40)  # never enlarged


def test_measures_of_a_rectangle():
    mask = np.zeros((32, 64), bool)
    mask[8:16, 0:32] = True
    stats = measured(mask)
    assert (stats.height, stats.width, stats.area, stats.x, stats.y) == (32, 64, 0.125, 0.25, 0.375)
    rows = [stats.cells[4 * row : 4 * row + 4] for row in range(16)]
    assert rows == ["ff00" if 4 <= row < 8 else "0000" for row in range(16)]


def test_what_is_ignored_is_no_part_of_the_image():
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :5] = 255
    mask[:, 5] = 1
    assert measured(mask).area == 0.2


def test_an_object_smaller_than_a_cell_and_none_at_all():
    mask = np.zeros((160, 160), bool)
    mask[159, 159] = True
    assert measured(mask).cells == "0" * 63 + "1"
    assert measured(np.zeros((8, 8), bool)) == MaskStats(8, 8, 0.0)


def test_pictures_are_kept_until_their_record_changes(samples_dir):
    gallery = plan(samples_dir)
    assert len(missing(gallery)) == 3 * COUNT + 2 * 3  # and the pairs of two folders
    assert draw(gallery) == []
    assert missing(plan(samples_dir)) == []

    path = record_path(samples_dir, entry=0, index=2)
    replace(SampleRecord.read(path), iou=0.2).write(path)
    assert missing(plan(samples_dir)) == [f"{path.parents[1].name}_000002"]
    assert len(missing(plan(samples_dir, thumbnail_side=50))) == 3 * COUNT + 6


def test_what_is_lost_or_broken_is_drawn_again(samples_dir):
    draw(plan(samples_dir))
    entry = record_path(samples_dir, 0, 0).parents[1].name
    pictures = samples_dir / "gallery" / "pictures" / entry
    (pictures / "000001_mask.png").unlink()
    assert missing(plan(samples_dir)) == [f"{entry}_000001"]
    for text in ("{", "[]", '{"0": ["key", {"height": 1}]}', '{"0": 1}'):
        (pictures / "kept_0000.json").write_text(text)
        assert len(missing(plan(samples_dir))) == COUNT


def test_a_changed_support_pair_is_drawn_again(samples_dir):
    draw(plan(samples_dir))
    picture = Image.open(samples_dir / "fish" / "1.jpg").transpose(Image.Transpose.ROTATE_180)
    picture.save(samples_dir / "fish" / "1.jpg")
    assert missing(plan(samples_dir)) == ["1"]


def test_a_sample_that_cannot_be_read_is_left_out(samples_dir):
    path = record_path(samples_dir, 0, 1)
    image = path.parents[1] / "generated_images" / "image_000001.jpg"
    image.write_bytes(b"no image")
    gallery = plan(samples_dir)
    (problem,) = draw(gallery)
    assert problem.startswith(f"{path.parents[1].name}_000001 is left out: {image}: not a readable")
    assert [row[1] for row in page_data(gallery)["entries"][0]["samples"]] == [0, 2, 3, 4, 5]
    assert len(missing(plan(samples_dir))) == 1  # tried again next time


def test_a_broken_run_keeps_its_finished_blocks(samples_dir, monkeypatch):
    monkeypatch.setattr("aligndiff.gallery.cache._CHUNK", 2)
    drawn = 0

    def stop_after_seven() -> None:
        nonlocal drawn
        drawn += 1
        if drawn > 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_missing(list(plan(samples_dir).chunks), stop_after_seven)
    # The six pairs come first, two folders of a chunk of two and one of one.
    assert len(missing(plan(samples_dir))) == 3 * COUNT


def test_the_page_knows_every_sample_by_its_name_and_exact_seed(samples_dir):
    gallery = plan(samples_dir)
    draw(gallery)
    data = page_data(gallery)
    stored = list(stored_samples(load_prompt_bank(samples_dir)))
    rows = [
        dict(zip(data["sampleFields"], row, strict=True))
        for entry in data["entries"]
        for row in entry["samples"]
    ]
    assert [row["name"] for row in rows] == [sample.name for sample in stored]
    for row, sample in zip(rows, stored, strict=True):
        record = json.loads(json.dumps(sample.record.to_json()))
        assert {key: row[key] for key in record} == record | {"seed": str(record["seed"])}
        assert (row["area"] is None) == (record["status"] != "refined")
    support = [data["support"][entry["support"]] for entry in data["entries"]]
    assert [section["folder"] for section in support] == ["fish", "fish", "albatross"]
    assert [pair[0] for pair in support[0]["pairs"]] == ["1", "2", "3"]


def test_max_samples_takes_first_and_last_and_some_between(samples_dir):
    gallery = plan(samples_dir, max_samples=3)
    shown = list(gallery.entries[0].rows)
    assert shown == [0, 2, 5]
    assert len(plan(samples_dir, max_samples=99).entries[0].rows) == COUNT


def test_a_folder_of_something_else_is_not_written_into(tmp_path, samples_dir):
    (tmp_path / "site").mkdir()
    check_output(tmp_path / "site")
    (tmp_path / "site" / "index.html").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no gallery; give another folder"):
        check_output(tmp_path / "site")
    draw(plan(samples_dir))
    check_output(samples_dir / "gallery")

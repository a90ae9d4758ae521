"""The script of the export as a user runs it: again, with broken files, by mistake."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from aligndiff.core.errors import InputError
from aligndiff.core.files import write_json
from aligndiff.dataset.images import write_grey, write_image, write_mask
from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord, SampleRecord
from scripts import export_dataset
from scripts.reporting import without_bars


@pytest.fixture
def refined(dataset_dir: Path) -> Path:
    """The dataset with what step 3 leaves: four samples of each of three entries."""
    bank = load_prompt_bank(dataset_dir)
    for number, entry in enumerate(bank.entries):
        place = EntryFolder(bank.root, entry)
        place.make()
        prompt = entry.prompt()
        made_with = EntryRecord(entry.id, entry.type, entry.category, prompt, "", "m", {}, "f")
        made_with.write(place.entry_json)
        write_json(place.folder / "refinement.json", {"settings": {"heatmap_threshold": 0.5}})
        for index in range(4):
            image = np.random.default_rng(10 * number + index).integers(0, 255, (24, 32, 3))
            mask = np.zeros((24, 32), bool)
            mask[4:16, 6 : 12 + index] = True
            write_image(place.image_path(index, "jpg"), image.astype(np.uint8))
            write_grey(place.heatmap_path(index), mask * np.uint8(200))
            write_mask(place.mask_path(index), mask)
            source = "consensus" if index else "pseudo_label"
            record = SampleRecord(index, 1, "refined", "jpg", "f", source, index / 4, None, "r")
            record.write(place.record_path(index))
    return dataset_dir


def run(root: Path, form: str, *options: str) -> int:
    return export_dataset.main(["--dataset_dir", str(root), "--format", form, *options])


def broken(root: Path) -> Path:
    """The image of one sample, cut off."""
    place = EntryFolder(root, load_prompt_bank(root).entries[0])
    path = place.image_path(1, "jpg")
    path.write_bytes(path.read_bytes()[:300])
    return path


def test_an_export_is_told_and_found_again(refined: Path, capsys) -> None:
    assert (
        run(refined, "coco", "--sources", "consensus", "pseudo_label", "--val_fraction", "0.3") == 0
    )
    said = capsys.readouterr().out
    assert "class      train  val  consensus  pseudo_label  support" in said
    assert f"export: {refined}/exports/coco" in said
    marked = (refined / "exports" / "coco" / "export.json").stat().st_mtime_ns
    assert run(refined, "coco", "--val_fraction", "0.3") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (refined / "exports" / "coco" / "export.json").stat().st_mtime_ns == marked
    with pytest.raises(InputError, match=r"min_iou was 0.0, now 0.5.*--overwrite"):
        run(refined, "coco", "--min_iou", "0.5", "--val_fraction", "0.3")
    assert run(refined, "coco", "--min_iou", "0.5", "--val_fraction", "0.3", "--overwrite") == 0
    assert "left out: 6 --min_iou" in capsys.readouterr().out


def test_changed_samples_are_another_export(refined: Path) -> None:
    assert run(refined, "yolo") == 0
    place = EntryFolder(refined, load_prompt_bank(refined).entries[0])
    SampleRecord(1, 1, "refined", "jpg", "f", "consensus", 0.9, None, "again").write(
        place.record_path(1)
    )
    with pytest.raises(InputError, match="the samples are other ones"):
        run(refined, "yolo")


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "fss1000", "imagefolder", "webdataset"])
def test_a_broken_image_is_told_and_left_out(refined: Path, form: str, capsys) -> None:
    path = broken(refined)
    assert run(refined, form, "--val_fraction", "0") == 1
    told = without_bars(capsys.readouterr().err)
    assert told[-1].startswith(f"failed: {path}: is cut off, its end is missing")
    output = refined / "exports" / form
    assert json.loads((output / "export.json").read_text())["failed"] == 1
    assert "could not be read | 1 |" in (output / "README.md").read_text()
    # Once it is mended, the same command takes it in.
    shutil.copy(path.with_name("image_000002.jpg"), path)
    assert run(refined, form, "--val_fraction", "0") == 0
    assert json.loads((output / "export.json").read_text())["failed"] == 0


def test_when_nothing_can_be_read_there_is_no_export(refined: Path) -> None:
    for path in refined.glob("synthesized/*/aligndiff_masks/*.png"):
        write_mask(path, np.zeros((24, 32), bool))
    with pytest.raises(Exception, match="its mask is empty; repeat step 3") as error:
        run(refined, "voc")
    assert error.value.problems[-1] == "no image could be read; nothing was exported"
    assert list((refined / "exports").iterdir()) == []


def test_a_mask_of_another_size_is_told(refined: Path, capsys) -> None:
    small = np.ones((9, 9), np.uint8)
    write_grey(sorted(refined.glob("synthesized/*/aligndiff_masks/*.png"))[0], small)
    write_grey(sorted(refined.glob("synthesized/*/attention_masks/*.png"))[1], small)
    assert run(refined, "voc") == 1
    told = capsys.readouterr().err
    assert "000000: its mask has another size than its image; repeat step 3" in told
    assert "000001: its heatmap has another size than its mask; repeat step 3" in told


def test_classes_without_images_are_listed_and_told(refined: Path, capsys) -> None:
    shutil.rmtree(next(refined.glob("synthesized/albatross-*")))
    assert run(refined, "voc", "--val_fraction", "0") == 0
    assert "note: albatross: no image was chosen; the class is listed" in capsys.readouterr().err
    labels = (refined / "exports" / "voc" / "labels.txt").read_text()
    assert labels == "background\nfish\nalbatross\n"


def test_pycocotools_missing_is_one_line(refined: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(InputError, match="--format coco needs pycocotools, which is not installed"):
        run(refined, "coco")
    assert run(refined, "voc") == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["voc", "--shard_size", "5"], "--shard_size: --format voc has no use for it; leave it"),
        (["coco", "--side", "224"], "--side: --format coco has no use for it"),
        (["voc", "--polygons"], "--polygons: --format voc has no use for it; leave it out"),
        (["webdataset", "--min_object_area", "5"], "--format webdataset has no use for it"),
        (["yolo", "--min_object_area", "-5"], "--min_object_area: must be 0 or more px, is -5"),
        (["coc"], "invalid choice: 'coc'"),
        (["voc", "--min_iuo", "1"], "unknown argument --min_iuo, did you mean --min_iou"),
        (["voc", "--categories", "fihs"], "fihs"),
        (["voc", "--exclude", "nowhere.txt"], "nowhere.txt: no such file"),
    ],
)
def test_mistakes_are_told(refined: Path, options: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        run(refined, *options)
    assert not (refined / "exports").exists()


def test_folders_of_the_user_stay(refined: Path) -> None:
    for folder in (refined, refined / "fish"):
        with pytest.raises(InputError, match="nothing there is touched; choose another"):
            run(refined, "voc", "--output_dir", str(folder), "--overwrite")
    assert (refined / "fish" / "1.jpg").exists()

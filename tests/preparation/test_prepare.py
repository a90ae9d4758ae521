"""The command as people type it: again, in part, with mistakes; SOURCE is never touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.prompt_bank import load_prompt_bank
from scripts.prepare_dataset import main
from tests.preparation.made_sources import (
    ELL,
    SQUARE,
    masks_of,
    only_mask,
    pairs_of,
    prepare,
    refused,
    save,
    save_mask,
    save_photo,
    snapshot,
    write_json,
)

FISH = ("--category", "fish")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two pairs side by side, in a folder whose name has a space."""
    folder = tmp_path / "my photos"
    for number in (1, 2):
        save_photo(folder / f"{number}.jpg", number)
        save_mask(folder / f"{number}.png")
    return folder


def entries(dataset: Path) -> list[dict[str, str]]:
    content: dict[str, list[dict[str, str]]] = json.loads((dataset / "dataset.json").read_text())
    return content["prompt_dataset"]


def test_the_folder_is_one_that_the_steps_take(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(source)
    dataset = prepare(source, *FISH)
    assert snapshot(source) == before
    bank = load_prompt_bank(dataset)
    assert {entry.type for entry in bank.entries} == {"text", "NM_embedding"}
    assert [entry.prompt() for entry in bank.entries] == [
        "a photo of a fish",
        "a photo of a fish",
        "a close-up photo of a fish",
    ]
    for name in ("1.jpg", "2.jpg"):
        assert (dataset / "fish" / name).read_bytes() == (source / name).read_bytes()
    mask = np.asarray(Image.open(dataset / "fish" / "1.png"))
    assert mask.dtype == np.uint8 and (mask == ELL * np.uint8(255)).all()
    assert (dataset / "sheets" / "0_pairs.png").exists()
    told = capsys.readouterr().out
    assert f"next: python -m scripts.image_mask_inversion --dataset_dir '{dataset}'" in told or (
        f"next: python -m scripts.image_mask_inversion --dataset_dir {dataset}" in told
    )


def test_ignored_pixels_are_read_again_as_such(source: Path) -> None:
    save(source / "1.png", (ELL + SQUARE * np.uint8(255)).astype(np.uint8))
    assert (pairs_of(prepare(source, *FISH))["1"].mask == ELL + SQUARE * np.uint8(255)).all()


def test_again_adds_what_is_new_and_keeps_what_was_edited(source: Path) -> None:
    dataset = prepare(source, *FISH)
    edited = '{"defaults": {"diffusion_model": "tiny"},\n "prompt_dataset": [\n'
    edited += '{"type": "text", "category": "fish", "D_good_dir": "fish", "text": "two fish"}]}'
    (dataset / "dataset.json").write_text(edited)
    save_mask(dataset / "fish" / "2.png", SQUARE)
    save_photo(source / "3.jpg", 3)
    save_mask(source / "3.png")
    shutil.rmtree(dataset / "sheets")
    prepare(source, *FISH, target=dataset)
    assert (dataset / "dataset.json").read_text() == edited
    masks = masks_of(dataset)
    assert [(mask == ELL).all() for mask in masks] == [True, False, True]
    assert (dataset / "sheets" / "0_pairs.png").exists()


def test_another_category_is_added_behind_what_was_edited(source: Path) -> None:
    dataset = prepare(source, *FISH)
    content = {"defaults": {"scheduler": "dpm++"}, "prompt_dataset": entries(dataset)[1:]}
    (dataset / "dataset.json").write_text(json.dumps(content))
    prepare(source, "--category", "blue whale", target=dataset)
    assert json.loads((dataset / "dataset.json").read_text())["defaults"] == {"scheduler": "dpm++"}
    assert [e["category"] for e in entries(dataset)] == ["fish"] * 2 + ["blue whale"] * 3
    assert entries(dataset)[-1]["D_good_dir"] == "blue_whale"


def test_a_category_keeps_the_folder_that_the_user_gave_it(source: Path) -> None:
    dataset = prepare(source, *FISH)
    (dataset / "fish").rename(dataset / "carp")
    text = (dataset / "dataset.json").read_text().replace('_dir": "fish"', '_dir": "carp"')
    (dataset / "dataset.json").write_text(text.replace('"path": "fish"', '"path": "carp"'))
    save_photo(source / "3.jpg", 3)
    save_mask(source / "3.png")
    prepare(source, *FISH, target=dataset)
    assert len(masks_of(dataset, "carp")) == 3 and not (dataset / "fish").exists()


def test_photos_of_one_name_from_two_sources(source: Path) -> None:
    dataset = prepare(source, *FISH)
    other = source.parent / "other"
    save_photo(other / "1.jpg", 9)
    save_mask(other / "1.png", SQUARE)
    prepare(other, *FISH, target=dataset)
    prepare(other, *FISH, target=dataset)
    pairs = pairs_of(dataset)
    assert [*pairs] == ["1", "1_2", "2"]
    assert (pairs["1_2"].mask == SQUARE).all() and (pairs["1"].mask == ELL).all()


@pytest.mark.parametrize("name", ["sheets", "synthesized", "犬", "C++", "..", "a/b"])
def test_odd_categories_have_folders_of_their_own(source: Path, name: str) -> None:
    dataset = prepare(source, "--category", name)
    (entry, *_) = load_prompt_bank(dataset).entries
    assert entry.category == name
    assert (dataset / entry.support_dir).parent == dataset
    assert entry.support_dir not in ("sheets", "synthesized")


def test_pairs_takes_the_first_of_each_category(source: Path) -> None:
    for number in (10, 3):
        save_photo(source / f"{number}.jpg", number)
        save_mask(source / f"{number}.png")
    assert [*pairs_of(prepare(source, *FISH, "--pairs", "3"))] == ["1", "2", "3"]


def test_empty_masks_are_left_out_and_counted(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_mask(source / "2.png", np.zeros_like(ELL))
    assert (only_mask(prepare(source, *FISH)) == ELL).all()
    assert capsys.readouterr().out.splitlines()[3].split() == ["fish", "1", "0", "1", "0"]


def test_all_problems_at_once_and_nothing_written(source: Path) -> None:
    (source / "2.jpg").write_bytes(b"no picture")
    save_photo(source / "3.jpg", 3)
    save_mask(source / "3.png", np.ones_like(ELL))
    save_photo(source / "4.jpg", 4)
    save_mask(source / "4.png", ELL[:-1])
    told = refused(source, *FISH).splitlines()
    assert "2.jpg: not a readable image" in told[0]
    assert "3.jpg (3.png): the mask covers the whole photo" in told[1]
    assert "4.jpg (4.png): the mask is 32 x 23 px, the photo 32 x 24" in told[2]
    assert "--skip_bad" in told[3] and len(told) == 4
    assert len(masks_of(prepare(source, *FISH, "--skip_bad"))) == 1


def test_a_stop_in_the_middle_leaves_an_earlier_dataset_as_it_was(source: Path) -> None:
    dataset = prepare(source, *FISH)
    before = snapshot(dataset)
    save_photo(source / "3.jpg", 3)
    save_mask(source / "3.png", np.ones_like(ELL))
    refused(source, *FISH, target=dataset)
    assert snapshot(dataset) == before


def test_list_writes_nothing_and_names_what_is_unreadable(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "2.jpg").write_bytes(b"no picture")
    save_photo(source / "3.jpg", 3)
    before = snapshot(source.parent)
    assert main([str(source), "--list"]) == 0
    assert snapshot(source.parent) == before
    told = capsys.readouterr()
    assert "pairs (photos and masks side by side" in told.out
    assert ["(no", "name)", "1", "0", "1"] in [line.split() for line in told.out.splitlines()]
    assert "3 photos, 1 of them without a mask" in told.out
    assert "2.jpg: not a readable image" in told.err


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (".", "is SOURCE itself"),
        ("new", "lies within SOURCE"),
        ("deep/er", "lies within SOURCE"),
        ("../my photos", "is SOURCE itself"),
        ("../link", "is SOURCE itself"),
        ("../link/new", "lies within SOURCE"),
    ],
)
def test_never_into_source(source: Path, target: str, what: str) -> None:
    (source.parent / "link").symlink_to(source)
    assert what in refused(source, *FISH, target=source / target)


def test_never_into_source_by_a_link_within_the_dataset(source: Path) -> None:
    dataset = source.parent / "dataset"
    dataset.mkdir()
    (dataset / "fish").symlink_to(source)
    assert "leaves the dataset folder" in refused(source, *FISH, target=dataset)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "--category: missing; its pairs are in no folder named after what they show"),
        (("--category", "fish", "bird"), "give one --category, not 2"),
        (("--category", " "), "category '': category: is empty"),
        (("--category", "fish", "--from", "coco"), "holds no coco"),
        (("--category", "fish", "--pairs", "0"), "--pairs must be from 1"),
        (("--categories", "fish"), "unknown argument --categories, did you mean --category?"),
        (("--category", "a\x1bb"), "control character"),
    ],
)
def test_mistakes_in_options(source: Path, options: tuple[str, ...], problem: str) -> None:
    assert problem in refused(source, *options)


def test_categories_may_be_asked_for_one_by_one_and_spelled_loosely(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for seed, name in enumerate(("Metal_Nut", "fish", "bird")):
        save_photo(source / name / "1.jpg", seed)
        save_mask(source / name / "1.png")
    dataset = prepare(source, "--category", "metal nut", "--category", "FISH")
    assert {e["category"] for e in entries(dataset)} == {"Metal Nut", "fish"}
    told = refused(source, "--category", "brid", target=tmp_path / "other")
    assert (
        'no category "brid" in SOURCE (did you mean "bird"?); it has bird, fish, Metal Nut' in told
    )


def test_a_dataset_folder_is_no_source(source: Path) -> None:
    dataset = prepare(source, *FISH)
    assert "is a dataset folder already" in refused(dataset, target=source.parent / "other")


def test_a_home_that_the_shell_left_alone(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(source.parent))
    assert main(["~/my photos", *FISH, "--dataset_dir=~/new"]) == 0
    assert len(masks_of(source.parent / "new")) == 2


def test_backslashes_of_windows(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "fish").mkdir()
    monkeypatch.chdir(source.parent)
    assert "folders are parted by / here: my photos/fish" in refused(Path("my photos\\fish"), *FISH)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text(""), "is a file; name the folder"),
        (lambda path: path.mkdir(), "holds no files"),
    ],
)
def test_sources_that_are_none(tmp_path: Path, make: object, problem: str) -> None:
    assert callable(make)
    make(tmp_path / "source")
    assert problem in refused(tmp_path / "source", *FISH)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "export.zip").write_bytes(b"PK")
    assert "is an archive; unpack it" in refused(tmp_path / "export.zip", *FISH)


def test_a_source_of_two_formats_asks_which(source: Path) -> None:
    write_json(source / "1.json", {"shapes": [], "imagePath": "1.jpg"})
    write_json(source / "a.json", {"images": [], "annotations": [], "categories": []})
    assert "several formats: coco (a.json), labelme (1.json); choose one with --from" in refused(
        source, *FISH
    )
    assert len(masks_of(prepare(source, *FISH, "--from", "pairs"))) == 2


def test_a_broken_json_is_told_though_there_are_pairs(source: Path) -> None:
    (source / "a.json").write_text('{"images": [')
    told = refused(source, *FISH)
    assert "a.json: not valid JSON at line 1" in told and "--from pairs" in told


def test_links_of_the_user_are_followed_and_circles_end(source: Path) -> None:
    store = source.parent / "store"
    store.mkdir()
    for name in ("1.jpg", "1.png"):
        (source / name).rename(store / name)
        (source / name).symlink_to(store / name)
    (source / "again").symlink_to(source)
    dataset = prepare(source, *FISH)
    assert len(masks_of(dataset)) == 2 and not (dataset / "fish" / "1.jpg").is_symlink()


def test_a_dataset_json_that_cannot_be_added_to_is_left_alone(source: Path) -> None:
    dataset = source.parent / "dataset"
    dataset.mkdir()
    (dataset / "dataset.json").write_text("[]")
    assert "has no list prompt_dataset" in refused(source, *FISH, target=dataset)


def test_without_a_target_the_option_is_named(source: Path) -> None:
    with pytest.raises(InputError, match="--dataset_dir: missing"):
        main([str(source), *FISH])

"""Where pairs may lie: the user's own files anywhere, what came with a dataset only inside it."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.dataset.entries import EmbeddingEntry, TextEntry, category_spans
from aligndiff.dataset.layout import embedding_dir
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.support import load_support

MakeBank = Callable[..., Path]
TEXT = {"type": "text", "category": "fish", "D_good_dir": "fish", "text": "a photo of a fish"}
LEARNED = {"type": "NM_embedding", "category": "fish", "D_good_dir": "fish", "path": "fish"}


@pytest.fixture
def store(make_bank: MakeBank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder elsewhere with the pairs of fish/."""
    root = make_bank([TEXT, LEARNED])
    return (root / "fish").rename(tmp_path_factory.mktemp("store") / "fish")


def problems(root: Path) -> list[str]:
    with pytest.raises(InputError) as error:
        load_prompt_bank(root)
    return list(error.value.problems)


def test_a_folder_that_is_a_link(store: Path, tmp_path: Path) -> None:
    (tmp_path / "fish").symlink_to(store)
    bank = load_prompt_bank(tmp_path)
    assert len(load_support(tmp_path / bank.entries[0].support_dir)) == 2


def test_photos_that_are_links_into_a_store(store: Path, tmp_path: Path) -> None:
    (tmp_path / "fish").mkdir()
    for number, file in enumerate(sorted(store.iterdir())):
        blob = file.rename(store / f"{number:032x}")  # no suffix, as stores name them
        (tmp_path / "fish" / file.name).symlink_to(blob)
    load_prompt_bank(tmp_path)


def test_links_within_the_store_are_its_own(store: Path, tmp_path: Path) -> None:
    (store / "1.jpg").rename(store.parent / "blob")
    (store / "1.jpg").symlink_to("../blob")
    (tmp_path / "fish").symlink_to(store)
    load_prompt_bank(tmp_path)


def test_an_absolute_folder(store: Path, make_bank: MakeBank, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(
        json.dumps({"prompt_dataset": [{**LEARNED, "D_good_dir": str(store), "path": str(store)}]})
    )
    (entry,) = load_prompt_bank(tmp_path).entries
    assert tmp_path / entry.support_dir == store


def test_relative_links_out_are_refused(store: Path, tmp_path: Path) -> None:
    """Such as an archive may hold: they lead somewhere on every machine."""
    what = "is a relative link out of the dataset folder; make it absolute if the file is yours"
    (tmp_path / "fish").symlink_to(os.path.relpath(store, tmp_path))
    assert problems(tmp_path)[0].endswith(f"D_good_dir: {tmp_path}/fish: {what}")
    (tmp_path / "fish").unlink()
    (tmp_path / "fish").mkdir()
    for file in store.iterdir():
        (tmp_path / "fish" / file.name).symlink_to(os.path.relpath(file, tmp_path / "fish"))
    assert problems(tmp_path)[0].endswith(f"{tmp_path}/fish/1.jpg: {what}")


def test_relative_links_inside_are_followed(tmp_path: Path, make_bank: MakeBank) -> None:
    root = make_bank([{**TEXT, "D_good_dir": "link"}])
    (root / "link").symlink_to("fish")
    (root / "fish" / "3.jpg").symlink_to("../mushroom/1.jpg")
    (root / "fish" / "3.png").symlink_to("../mushroom/1.png")
    load_prompt_bank(root)


def test_nothing_is_written_outside_the_dataset_folder(store: Path, tmp_path: Path) -> None:
    inside = embedding_dir(tmp_path, EmbeddingEntry(**{**LEARNED, "path": "mushroom"}))
    assert inside == tmp_path / "mushroom" / "learned_embeddings"
    absolute = EmbeddingEntry(**{**LEARNED, "path": str(store)})
    (tmp_path / "fish").symlink_to(store)
    for entry in (absolute, EmbeddingEntry(**LEARNED)):
        folder = embedding_dir(tmp_path, entry)
        assert folder.parent == tmp_path / "learned_embeddings"
        assert folder.name.startswith("fish-")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_in_both_spellings(form: str, make_bank: MakeBank) -> None:
    """macOS spells them in two characters, in names of files and of folders."""
    other = "NFD" if form == "NFC" else "NFC"
    category = unicodedata.normalize(form, "café")
    prompt = unicodedata.normalize(other, "a photo of a café")
    folder = unicodedata.normalize(other, "Café")
    root = make_bank(
        [{**TEXT, "category": category, "text": prompt, "D_good_dir": folder.upper().title()}]
    )
    place = (root / "fish").rename(root / unicodedata.normalize(form, "Café"))
    (place / "1.jpg").rename(place / unicodedata.normalize("NFD", "é.jpg"))
    (place / "1.png").rename(place / unicodedata.normalize("NFC", "é.png"))
    bank = load_prompt_bank(root)
    assert bank.categories == ["café"]
    assert category_spans(bank.entries[0].prompt(), "café") == [(13, 17)]
    assert len(load_support(root / bank.entries[0].support_dir)) == 2


@pytest.mark.parametrize(
    ("text", "category", "found"),
    [
        ("犬の写真", "犬", ["犬"]),
        ("我的狗在沙滩上", "狗", ["狗"]),
        ("ภาพถ่ายของแมว", "แมว", ["แมว"]),
        ("고양이가 있는 사진", "고양이", ["고양이"]),
        ("dogの写真", "dog", ["dog"]),
        ("hotdogの写真", "dog", []),
        ("ein Fußballfeld", "Fuß", []),
    ],
)
def test_scripts_without_spaces(text: str, category: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in category_spans(text, category)] == found


def test_words_that_are_not_english_are_noted(make_bank: MakeBank) -> None:
    root = make_bank([{**TEXT, "category": "犬", "text": "犬の写真"}, TEXT])
    (note,) = load_prompt_bank(root).notes
    assert note.startswith('category "犬": is not English: ')
    assert load_prompt_bank(root, ["fish"]).notes == []


def test_what_looks_odd_about_pairs_is_noted(make_bank: MakeBank) -> None:
    """Also where the folder has the name of the category; once, however many entries use it."""
    root = make_bank([TEXT, LEARNED, {**TEXT, "category": "mushroom", "text": "a mushroom"}])
    Image.fromarray(np.pad(np.zeros((4, 4), np.uint8), ((4, 4), (6, 6)), constant_values=255)).save(
        root / "fish" / "2.png"
    )
    (note,) = load_prompt_bank(root).notes
    assert note.startswith(f"{root}/fish/2.png: the object covers 92% of the picture and touches")
    assert load_prompt_bank(root, ["mushroom"]).notes == [note]  # its pairs are those of fish/


def test_a_mask_class_is_part_of_an_entry() -> None:
    plain, picked = TextEntry(**TEXT), TextEntry(**TEXT, mask_class=15)
    assert plain.id == "fish-a6375220" != picked.id  # as before there were classes
    assert len({picked.id, TextEntry(**TEXT, mask_class="#c08080").id, plain.id}) == 3


@pytest.mark.parametrize("mask_class", ["red", True, 1.5, -1, [1], "#12345", "300,0,0"])
def test_what_is_no_mask_class(mask_class: object, make_bank: MakeBank) -> None:
    (problem,) = problems(make_bank([{**TEXT, "mask_class": mask_class}]))
    assert problem.startswith("dataset.json: entry 1 (fish): mask_class: must be a ")


def test_one_folder_is_learned_with_one_class(make_bank: MakeBank) -> None:
    root = make_bank([{**LEARNED, "mask_class": 255}, {**LEARNED, "mask_class": "any"}])
    (problem,) = problems(root)
    assert problem.endswith(
        "path: entry 1 learns fish with another mask_class; use the same one, or a copy of the "
        "folder"
    )

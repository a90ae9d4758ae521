"""What is wrong with dataset.json, or stands in its place, is told in one line by every script."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.scripts.conftest import SCRIPTS, Refused, command, told, weights

Spoil = Callable[[Path], object]
ENTRY = {"type": "text", "category": "fish", "D_good_dir": "fish", "text": "a photo of a fish"}
LEARNED = {"type": "NM_embedding", "category": "fish", "D_good_dir": "fish", "path": "fish"}


def text(**changes: Any) -> bytes:
    """A prompt bank of one entry, changed."""
    return json.dumps({"prompt_dataset": [{**ENTRY, **changes}]}).encode()


def defaults(**keys: Any) -> bytes:
    return json.dumps({"prompt_dataset": [ENTRY], "defaults": keys}).encode()


def bank(entries: Any) -> bytes:
    return json.dumps({"prompt_dataset": entries}).encode()


GOOD = bank([ENTRY])
BYTES: dict[str, tuple[bytes, str, str]] = {
    # what: the file, where the line says the mistake is, what it says to do
    "empty": (b"", "line 1, column 1", "correct it"),
    "white space": (b" \n\n", "line 3, column 1", "correct it"),
    "cut off": (GOOD[:60], "line 1, column", "correct it"),
    "trailing comma": (b'{"prompt_dataset": [],}', "column 23", "correct it"),
    "single quotes": (b"{'prompt_dataset': []}", "column 2", "correct it"),
    "a comment": (b"// mine\n" + GOOD, "column 1", "correct it"),
    "two documents": (GOOD + GOOD, "Extra data", "correct it"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(50), "not UTF-8 text (byte 0)", "save it as UTF-8"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "not UTF-8 text (byte 0)", "save it as UTF-8"),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), "line 1, column 2", "correct it"),
    "UTF-32": (GOOD.decode().encode("utf-32"), "not UTF-8 text (byte 0)", "save it as UTF-8"),
    "Latin-1": ('{"a": "Fühler"}'.encode("latin-1"), "not UTF-8 text (byte 8)", "save it as UTF-8"),
    "NaN": (defaults(guidance_scale=float("nan")), "NaN is no JSON number", "write null or a num"),
    "infinity": (b'{"prompt_dataset": -Infinity}', "-Infinity is no JSON", "write null or a num"),
    "nested 100,000 deep": (b"[" * 10**5, "too deep", "take the needless ones away"),
    "objects 20,000 deep": (b'{"a":' * 20000, "too deep", "take the needless ones away"),
    "a number of 5,000 digits": (b"9" * 5000, "thousands of digits", "write a shorter one"),
    "a key twice": (b'{"a": 1, "a": 2}', 'the key "a" is there twice', "remove one of them"),
    "a key of an entry twice": (
        text()[:-3] + b', "type": "text"}]}',
        'the key "type" is there twice',
        "remove one of them",
    ),
    "a list": (b"[]", "must be an object", '{"prompt_dataset": [...]}'),
    "null": (b"null", "must be an object", "not null"),
    "a text": (b'"prompt_dataset"', "must be an object", "not a text"),
    "no entries key": (b"{}", "prompt_dataset: missing", "add the list"),
    "no entries": (bank([]), "prompt_dataset: has no entries", "add at least one"),
    "entries as an object": (bank({"fish": ENTRY}), "must be a list [...]", "not an object"),
    "entries null": (bank(None), "must be a list [...]", "not null"),
    "an entry as a text": (bank(["fish"]), "entry 1", "must be an object"),
    "an entry as a list": (bank([[ENTRY]]), "entry 1", "must be an object"),
    "type as a list": (text(type=["text"]), "entry 1 (fish): type", "use "),
    "type unknown": (text(type="txt"), "entry 1 (fish): type", 'did you mean "text"'),
    "category null": (text(category=None), "entry 1: category", "must be a text in quotes"),
    "category a number": (text(category=7), "entry 1: category", "must be a text in quotes"),
    "category nested 500 deep": (
        b'{"prompt_dataset": [{"type": "text", "category": ' + b"[" * 500 + b"]" * 500 + b"}]}",
        "entry 1: category: must be a text in quotes, not a list",
        "D_good_dir: missing; add",
    ),
    "category of a megabyte": (text(category="x" * 2**20), "category: has 1048576", "shorten it"),
    "category of two lines": (text(category="a\nb"), r"category: holds \n", "remove it"),
    "category with an escape": (text(category="\x1b[31mfish"), r"holds \x1b", "remove it"),
    "category with a line mark": (text(category="a\u2028b"), r"holds \u2028", "remove it"),
    "text with half a character": (text(text="a \ud800 fish"), "text: holds half", "remove it"),
    "text with a zero": (text(text="a \0 fish"), r"text: holds \x00", "remove it"),
    "text of a megabyte": (text(text="fish " * 2**18), "text: has ", "shorten it"),
    "text without the category": (
        text(text="a dog"),
        'category "fish" is not in',
        "write it there",
    ),
    "unknown key": (text(textt="a"), "entry 1 (fish): textt: unknown key", 'did you mean "text"?'),
    "unknown key of a megabyte": (text(**{"x" * 2**20: 1}), "xxx ... ", "the keys are"),
    "unknown top key": (b'{"prompt_datasets": []}', "prompt_datasets: unknown", "did you mean"),
    "folder with a zero": (text(D_good_dir="fish\0"), r"D_good_dir: holds \x00", "remove it"),
    "folder name too long": (text(D_good_dir="x" * 300), "no such folder", "give a folder"),
    "folder above": (text(D_good_dir="../fish"), "leaves the dataset folder", "give the absolute"),
    "folder above, hidden": (
        text(D_good_dir="fish/../.."),
        "leaves the dataset",
        "give the absolute",
    ),
    "folder absolute": (text(D_good_dir="/etc"), "has no support pairs", "put images and masks"),
    "folder of Windows": (text(D_good_dir="C:\\fish"), "is a path of Windows", "with /"),
    "folder with backslashes": (
        text(D_good_dir="sub\\fish"),
        "(folders are parted by / here: sub/fish)",
        "give a folder",
    ),
    "folder of a user": (text(D_good_dir="~root"), "~root: no such folder", "give a folder"),
    "folder is a file": (text(D_good_dir="fish/1.jpg"), "is a file, not a folder", "give a folder"),
    "the same entry twice": (bank([ENTRY, ENTRY]), "entry 2 (fish): the same as entry 1", "remove"),
    "one folder, two names": (
        bank([LEARNED, {**LEARNED, "category": "dog"}]),
        'entry 1 learns fish as "fish"',
        "use the same category",
    ),
    "defaults a list": (b'{"prompt_dataset": [], "defaults": []}', "defaults: must be an", "{...}"),
    "default unknown": (defaults(guidance=7), "defaults: guidance: unknown key", "did you mean"),
    "default as a text": (defaults(guidance_scale="7"), "guidance_scale: must be a number", "'7'"),
    "default negative": (defaults(guidance_scale=-1), "guidance_scale", "must be at least 0"),
    "default too large": (defaults(heatmap_threshold=1.5), "heatmap_threshold", "at most 1"),
    "default absurd": (defaults(num_inference_steps=10**30), "_inference_steps", "at most 1000"),
    "default infinite": (
        GOOD[:-1] + b', "defaults": {"guidance_scale": 1e999}}',
        "guidance_scale",
        "must be a number, not inf",
    ),
    "default half": (defaults(num_inference_steps=2.5), "inference_steps", "whole number, not 2.5"),
    "default true": (defaults(num_inference_steps=True), "inference_steps", "number, not True"),
}


@pytest.mark.parametrize("what", BYTES)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda module: module.__name__)
def test_contents(script: ModuleType, what: str, dataset_dir: Path, refused: Refused) -> None:
    content, where, to_do = BYTES[what]
    (dataset_dir / "dataset.json").write_bytes(content)
    lines = refused(script, dataset_dir, *weights(script))
    assert all("dataset.json" in line for line in lines)
    assert where in "".join(lines) and to_do in "".join(lines)


def in_place(root: Path) -> Path:
    """The path of dataset.json, with nothing there any more."""
    path = root / "dataset.json"
    path.unlink()
    return path


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**32)  # without using the disk


PLACES: dict[str, tuple[Spoil, str, str]] = {
    "missing": (in_place, "dataset.json: no such file", "scripts.prepare_dataset"),
    "a folder": (lambda root: in_place(root).mkdir(), "is a folder", "put the file in its place"),
    "a pipe": (lambda root: os.mkfifo(in_place(root)), "is a pipe or", "put a file in its place"),
    "a broken link": (lambda root: in_place(root).symlink_to("x"), "no such file", "prepare_"),
    "a device": (lambda root: in_place(root).symlink_to("/dev/zero"), "a device", "put a file in"),
    "a circle": (lambda root: in_place(root).symlink_to("dataset.json"), "no such", "prepare_"),
    "4 GiB": (lambda root: huge(root / "dataset.json"), "is 4096 MiB large", "make it smaller"),
    "fish links out": (
        lambda root: (os.rename(root / "fish", root.parent / "out"),
                      (root / "fish").symlink_to("../out")),
        "fish: is a relative link out of the dataset folder",
        "make it absolute",
    ),
    "fish links in a circle": (
        lambda root: (os.rename(root / "fish", root.parent / "out"),
                      (root / "fish").symlink_to("fish")),
        "fish: no such folder",
        "give a folder of support pairs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PLACES)
def test_what_stands_in_its_place(what: str, dataset_dir: Path, refused: Refused) -> None:
    spoil, where, to_do = PLACES[what]
    spoil(dataset_dir)
    for script, options in SCRIPTS.items():
        lines = refused(script, dataset_dir, *options)
        assert where in lines[0] and to_do in lines[0]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("dataset.json", "is a file"),
        ("gone", "no such folder"),
        ("x" * 300, "no such folder"),
        ("gone/../..", "no such folder"),
        ("a\n'\"\x1b[31m ü", r"a '\"\x1b[31m ü: no such folder".replace('\\"', '"')),
    ],
)
def test_no_dataset_folder(name: str, problem: str, dataset_dir: Path, refused: Refused) -> None:
    for script in SCRIPTS:
        (line,) = refused(script, dataset_dir / name)
        assert problem in line and "--dataset_dir is the folder that holds dataset.json" in line


def test_a_file_of_wrong_entries_is_not_told_a_thousand_times(
    dataset_dir: Path, refused: Refused
) -> None:
    (dataset_dir / "dataset.json").write_bytes(bank(list(range(20000))))
    lines = refused(*next((script, dataset_dir) for script in SCRIPTS))
    assert len(lines) == 51 and lines[-1] == "and 19950 more problems"


@pytest.mark.parametrize("script", ["image_mask_inversion", "mask_generation"])
@pytest.mark.parametrize("what", ["nested 100,000 deep", "UTF-16", "text with half a character"])
def test_as_a_process_without_torch(script: str, what: str, dataset_dir: Path) -> None:
    (dataset_dir / "dataset.json").write_bytes(BYTES[what][0])
    done = command(script, "--dataset_dir", str(dataset_dir))
    assert done.returncode == 2 and done.stdout == ""
    (line,) = told(done.stderr)
    assert BYTES[what][1] in line

"""The newcomer's page: its commands, typed as they stand, in a home with labelme files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from aligndiff.annotations.formats import FORMATS
from aligndiff.dataset.prompt_bank import load_prompt_bank
from scripts.prepare_dataset import main
from tests.preparation.made_sources import ELL, OUTERMOST, masks_of, save_photo, write_json

PAGE = (Path(__file__).parents[2] / "docs" / "YOUR_PHOTOS.md").read_text()
COMMAND = re.compile(r"^python -m scripts\.prepare_dataset (.+)$", re.MULTILINE)


def test_the_commands_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shape = {"label": "mushroom", "points": OUTERMOST, "shape_type": "polygon"}
    for number in range(190, 195):
        save_photo(tmp_path / "mushroom" / f"IMG_0{number}.jpg", number)
        content = {"shapes": [shape], "imagePath": f"IMG_0{number}.jpg"}
        write_json(tmp_path / "mushroom" / f"IMG_0{number}.json", content)
    save_photo(tmp_path / "mushroom" / "IMG_0196.jpg")
    outline, *commands = COMMAND.findall(PAGE)
    assert outline == f"{commands[1]} --outline" and len(commands) == 2  # test_by_hand.py runs it
    assert [main(shlex.split(command)) for command in commands] == [0, 0]
    assert [(mask == ELL).all() for mask in masks_of(tmp_path / "my_dataset", "mushroom")] == [
        True
    ] * 5
    told = capsys.readouterr()
    printed = (told.out + told.err).replace(str(tmp_path), "/home/me")
    shown = re.findall(r"```text\n(/home/me.*?)```", PAGE, re.DOTALL)[0]
    assert [line for line in shown.splitlines() if line not in printed] == []
    (entry,) = re.findall(r"```json\n(.*?)\n```", PAGE)
    bank = (tmp_path / "my_dataset" / "dataset.json").read_text()
    (tmp_path / "my_dataset" / "dataset.json").write_text(bank.replace("\n  ]", f",\n{entry}\n  ]"))
    assert len(load_prompt_bank(tmp_path / "my_dataset").entries) == 4


def test_every_format_has_its_line() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(FORMATS)

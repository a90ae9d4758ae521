from __future__ import annotations

import os
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.export.folder import Marker, is_there, whole_folder

SETTINGS = {"format": "coco", "min_iou": 0.0}


@pytest.fixture
def export_there(tmp_path: Path) -> Path:
    folder = tmp_path / "coco"
    folder.mkdir()
    (folder / "image").touch()
    Marker(SETTINGS, "hash", 0).write(folder)
    return folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "coco"
    with whole_folder(target) as folder:
        (folder / "file").write_text("1")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["coco"]
    assert (target / "file").read_text() == "1"


def test_an_earlier_export_stays_until_the_new_one_is_whole(export_there: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole_folder(export_there) as folder:
        (folder / "file").touch()
        raise KeyboardInterrupt
    assert {path.name for path in export_there.iterdir()} == {"image", "export.json"}
    with whole_folder(export_there) as folder:
        (folder / "file").touch()
        assert (export_there / "image").exists()
    assert [path.name for path in export_there.iterdir()] == ["file"]
    assert [path.name for path in export_there.parent.iterdir()] == ["coco"]


def test_an_earlier_export_comes_back_when_its_place_could_not_be_taken(
    export_there: Path, monkeypatch
) -> None:
    def fail_once(source: Path, target: Path) -> None:
        if Path(source).name == ".coco.tmp":
            raise KeyboardInterrupt
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "replace", fail_once)
    with pytest.raises(KeyboardInterrupt), whole_folder(export_there):
        pass
    assert (export_there / "image").exists()
    assert [path.name for path in export_there.parent.iterdir()] == ["coco"]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".coco.tmp").mkdir()
    (tmp_path / ".coco.tmp" / "half").touch()
    (tmp_path / ".coco.old.tmp").mkdir()
    (tmp_path / "coco").mkdir()
    with whole_folder(tmp_path / "coco"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["coco"]
    assert not any((tmp_path / "coco").iterdir())


def test_the_very_export_is_found_again(export_there: Path) -> None:
    assert is_there(export_there, SETTINGS, "hash", overwrite=False)
    assert not is_there(export_there, SETTINGS, "hash", overwrite=True)
    Marker(SETTINGS, "hash", 2).write(export_there)  # two could not be read: try again
    assert not is_there(export_there, SETTINGS, "hash", overwrite=False)


def test_another_export_is_replaced_only_when_asked(export_there: Path) -> None:
    changed = SETTINGS | {"min_iou": 0.5}
    with pytest.raises(InputError, match=r"\(min_iou was 0.0, now 0.5\); choose another"):
        is_there(export_there, changed, "hash", overwrite=False)
    with pytest.raises(InputError, match=r"\(the samples are other ones\).*--overwrite"):
        is_there(export_there, SETTINGS, "more", overwrite=False)
    assert not is_there(export_there, changed, "hash", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["photo.jpg", "export.json"])
def test_a_folder_of_the_users_is_never_touched(
    tmp_path: Path, content: str, overwrite: bool
) -> None:
    (tmp_path / content).write_text('{"settings": {}}')
    with pytest.raises(InputError, match="holds other things than an export, nothing there is"):
        is_there(tmp_path, SETTINGS, "hash", overwrite)
    with pytest.raises(InputError, match="is no folder"):
        is_there(tmp_path / content, SETTINGS, "hash", overwrite)


def test_the_root_of_the_file_system_is_refused() -> None:
    with pytest.raises(InputError, match="holds other things than an export"):
        is_there(Path("/"), SETTINGS, "hash", overwrite=True)


def test_new_and_empty_folders_are_free(tmp_path: Path) -> None:
    assert not is_there(tmp_path, SETTINGS, "hash", overwrite=False)
    assert not is_there(tmp_path / "a" / "b", SETTINGS, "hash", overwrite=False)

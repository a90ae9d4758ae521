from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.core.files import (
    FilePart,
    atomic_path,
    check_writable,
    file_fingerprint,
    fingerprint,
    hint_for_backslashes,
    read_input,
    read_json,
    remove_leftovers,
    typed_path,
    write_bytes,
    write_json,
    write_text,
)
from tests.torchrun import torchrun_variables

FileLimit = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def umask_027() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_appears_whole_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    with atomic_path(path) as beside:
        assert beside.parent == path.parent
        assert re.fullmatch(rf"\.file\.bin\.{os.getpid()}\.[0-9a-f]{{8}}\.tmp", beside.name)
        beside.write_bytes(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_vanished_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        write_text(tmp_path / "gone" / "samples" / "a.json", "{}")
    assert error.value.filename == str(tmp_path / "gone" / "samples")
    assert list(tmp_path.iterdir()) == []


def test_processes_of_one_number_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    """As on two machines with one disk."""
    path = tmp_path / "file"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first"  # the outer one ends last
    assert list(tmp_path.iterdir()) == [path]


def test_the_data_are_on_disk_before_the_file_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced, fsync = tmp_path / "file", [], os.fsync

    def watched(number: int) -> None:
        synced.append((os.fstat(number).st_size, path.exists()))
        fsync(number)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(path, b"12345")
    assert synced == [(5, False)] and path.read_bytes() == b"12345"


def test_a_full_disk_names_the_file_and_leaves_the_old_one(small_disk: Path) -> None:
    path = small_disk / "file"
    write_bytes(path, b"old")
    with pytest.raises(OSError) as error:
        write_bytes(path, bytes(2**22))
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old" and list(small_disk.iterdir()) == [path]


def test_a_file_that_may_not_grow_so_large_is_named(tmp_path: Path, file_limit: FileLimit) -> None:
    path = tmp_path / "file"
    with file_limit(1000), pytest.raises(OSError) as error:
        write_bytes(path, bytes(2000))
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(path))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def leftovers(tmp_path: Path) -> list[Path]:
    """Two folders, each with a file and with what runs left that were killed: now, and long ago."""
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        for name in ("1.png", ".hidden", ".notes.tmp"):
            (folder / name).touch()
        for name, age in ((".1.png.12.0123abcd.tmp", 0), (".1.png.345.tmp", 7200)):
            path = folder / name
            path.touch()
            os.utime(path, (time.time() - age,) * 2)
            found.append(path)
    return found


def remaining(leftovers: list[Path]) -> list[bool]:
    files = [path for folder in {p.parent for p in leftovers} for path in folder.iterdir()]
    assert len([path for path in files if path not in leftovers]) == 6, "nothing else is touched"
    return [path.exists() for path in leftovers]


def test_what_killed_runs_left_is_removed(tmp_path: Path, leftovers: list[Path]) -> None:
    remove_leftovers([tmp_path / "a" / "x", tmp_path / "a" / "y", tmp_path / "none" / "x"])
    assert remaining(leftovers) == [False, False, True, True]


@pytest.mark.parametrize(
    ("variables", "left"),
    [
        (torchrun_variables(0), [True, False, True, False]),
        (torchrun_variables(1), [True] * 4),
        ({"ALIGNDIFF_RANK": "0", "ALIGNDIFF_WORLD_SIZE": "2"}, [True] * 4),
    ],
)
def test_what_another_process_may_be_writing_stays(
    variables: dict[str, str],
    left: list[bool],
    tmp_path: Path,
    leftovers: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    remove_leftovers([tmp_path / "a" / "x", tmp_path / "b" / "x"])
    assert remaining(leftovers) == left


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="in the middle"), atomic_path(path) as beside:
        beside.write_text("ne")
        raise RuntimeError("in the middle")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("umask_027")
def test_the_umask_decides_the_mode_whatever_the_writer_does(tmp_path: Path) -> None:
    path = tmp_path / "rows.safetensors"
    with atomic_path(path) as beside:  # as safetensors does: a new file with mode 0600
        beside.unlink()
        os.close(os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_json_is_stable_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "ö"})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "ö",\n  "b": 1\n}\n'
    assert read_json(path) == {"a": "ö", "b": 1}


def test_json_refuses_what_is_no_json_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.json", b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{\n  "a": 1\n  "b": 2}', "not valid JSON at line 3, column 3: Expecting ',' delimiter"),
        (b"", "not valid JSON at line 1, column 1: Expecting value"),
        (b'{"a": NaN}', "not valid JSON: NaN is no JSON number; write null or a number"),
        (b'{"a": "\xff"}', "not UTF-8 text (byte 7); save it as UTF-8"),
        (b'[{"a": 1, "a": 1}]', 'not valid JSON: the key "a" is there twice in one object; remove'),
        (b"[" * 10**5, "lists or objects within each other, too deep to read; take"),
        (b"9" * 5000, "not valid JSON: a number of thousands of digits; write a shorter one"),
    ],
)
def test_broken_json_says_where(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        read_json(path)
    assert error.value.problems[0].startswith(f"{path}: {problem}")


def test_missing_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a.json: no such file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="is a folder, not a file"):
        read_json(tmp_path)


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"12345")
    for name, problem in {
        "pipe": "is a pipe or a device, not a file",
        "loop": "cannot be read: Too many levels of symbolic links",
        "x" * 300: "cannot be read: File name too long",
        "a\0b": "cannot be read: embedded null byte",
        "file": "is 0 MiB large, at most 3.8147e-06 MiB are read; make it smaller",
    }.items():
        with pytest.raises(InputError) as error:
            read_input(tmp_path / name, most_bytes=4)
        assert problem in str(error.value)
    assert read_input(tmp_path / "file", most_bytes=5) == b"12345"


def test_a_part_of_a_file_is_read_like_a_file(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    whole.write_bytes(b'padding{"a": 1}padding')
    part = FilePart(whole, 7, 8, "a.json")
    assert part.read_bytes() == b'{"a": 1}' and read_json(part) == {"a": 1}
    with pytest.raises(InputError, match=r"whole\.tar \(a\.json\): is 0 MiB large, at most"):
        read_input(part, 7)
    with pytest.raises(InputError, match=r"\(a\.json\): not valid JSON at line 1"):
        read_json(FilePart(whole, 8, 7, "a.json"))
    with pytest.raises(InputError, match=r"\(a\.json\): the file ends before it; put a whole"):
        read_input(FilePart(whole, 20, 8, "a.json"), 100)
    whole.unlink()
    with pytest.raises(InputError, match=r"whole\.tar \(a\.json\): no such file"):
        read_input(part, 100)


def test_where_nothing_can_be_written_is_told_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("gone")
    good = [tmp_path / "file", tmp_path / "folder" / "new" / "a", tmp_path / "a"]
    check_writable(good)
    bad = [tmp_path / "file" / "a", tmp_path / "file" / "b", tmp_path / "folder"]
    with pytest.raises(InputError) as error:
        check_writable([*good, *bad, tmp_path / "link" / "a" / "b"])
    assert error.value.problems == (
        f"{tmp_path}/file: is no folder, but files are to be written in it; move it",
        f"{tmp_path}/folder: is a folder where a file is to be written; move it away",
        f"{tmp_path}/link: is no folder, but files are to be written in it; move it",
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "link"]


def test_a_disk_for_reading_only_is_one_line_however_many_folders_it_has(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_disk / "a").mkdir()
    monkeypatch.chdir(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(InputError) as error:
        check_writable([Path("x"), Path("a", "x"), small_disk / "a" / "x"])
    (problem,) = error.value.problems
    assert problem.startswith(f"{small_disk}: this disk is mounted for reading only; mount it for")


def test_a_stray_byte_of_a_file_name_survives_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"model": os.fsdecode(b"caf\xe9")})
    assert os.fsencode(read_json(tmp_path / "a.json")["model"]) == b"caf\xe9"


def test_fingerprints_depend_on_content_alone(tmp_path: Path) -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    # SHA-256 of "{}" and of "abc", as sha256sum prints them
    assert fingerprint({}) == "44136fa355b3678a"
    write_bytes(tmp_path / "a", b"abc")
    assert file_fingerprint(tmp_path / "a") == "ba7816bf8f01cfea"


def test_a_typed_path_knows_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert typed_path("~/one") == Path("/home/me/one")
    assert typed_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    assert typed_path("./~") == Path("~")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("data\\fish", " (folders are parted by / here: data/fish)"),
        ("data\\fish\\", " (folders are parted by / here: data/fish)"),
        ("C:\\Users\\me\\fish", " (a path of Windows: write it as this system does, with /)"),
        ("\\\\server\\share\\x", " (a path of Windows: write it as this system does, with /)"),
        ("data/fish", ""),
    ],
)
def test_a_path_with_backslashes_is_told_how_to_be_written(path: str, hint: str) -> None:
    assert hint_for_backslashes(path) == hint

"""The script that makes the gallery, as a user runs it: twice, in part, and wrongly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aligndiff.dataset.layout import EntryFolder
from aligndiff.dataset.prompt_bank import load_prompt_bank
from scripts import view_dataset
from scripts.reporting import without_bars
from tests.made_samples import make_samples
from tests.scripts.conftest import Refused, command

COUNT = 6  # samples of each of the three entries


@pytest.fixture
def samples_dir(dataset_dir: Path) -> Path:
    make_samples(dataset_dir, COUNT)
    return dataset_dir


def files_of(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_table_and_page(samples_dir, capsys):
    assert view_dataset.main(["--dataset_dir", str(samples_dir)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["class", "shown", "drawn", "kept", "failed"]
    assert lines[2] == ["fish", "12", "12", "0", "0"]
    assert lines[3] == ["albatross", "6", "6", "0", "0"]
    index = samples_dir / "gallery" / "index.html"
    assert lines[4][-1] == str(index) and index.is_file()


def test_running_it_again_draws_nothing(samples_dir, capsys):
    argv = ["--dataset_dir", str(samples_dir)]
    view_dataset.main(argv)
    before = files_of(samples_dir / "gallery" / "pictures")
    capsys.readouterr()
    assert view_dataset.main(argv) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["fish", "12", "0", "12", "0"]
    assert files_of(samples_dir / "gallery" / "pictures") == before


def test_some_categories_elsewhere(samples_dir, tmp_path, capsys):
    out = tmp_path / "new" / "page"
    argv = ["--dataset_dir", str(samples_dir), "--categories", "albatross", "--output_dir"]
    assert view_dataset.main([*argv, str(out), "--max_samples", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["albatross", "2", "2", "0", "0"]
    assert not (samples_dir / "gallery").exists()
    assert "fish" not in (out / "data.js").read_text()


def test_a_broken_sample_is_told_and_the_rest_is_shown(samples_dir, capsys):
    bank = load_prompt_bank(samples_dir)
    EntryFolder(bank.root, bank.entries[0]).mask_path(1).write_bytes(b"")
    assert view_dataset.main(["--dataset_dir", str(samples_dir)]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines()[2].split() == ["fish", "11", "11", "0", "1"]
    (line,) = without_bars(told.err)
    assert line.startswith("failed: fish-") and "_000001 is left out: " in line


def test_no_samples_yet_says_which_step_to_run(dataset_dir, refused: Refused):
    (line,) = refused(view_dataset, dataset_dir)
    assert "no synthesized images" in line
    assert f"run python -m scripts.diffuse_img_attention --dataset_dir {dataset_dir} first" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--thumbnail_side", "8"], "--thumbnail_side: must be 32 to 512 px, is 8"),
        (["--max_samples", "-1"], "--max_samples: must be 0 or more, is -1"),
        (["--categories", "fihs"], "did you mean"),
        (["--thumbnails", "8"], "unknown argument --thumbnails, did you mean --thumbnail_side?"),
    ],
)
def test_mistakes(samples_dir, refused: Refused, options, said):
    (line,) = refused(view_dataset, samples_dir, *options)
    assert said in line


def test_a_folder_in_use_and_a_file_in_the_way(samples_dir, refused: Refused):
    (line,) = refused(view_dataset, samples_dir, "--output_dir", str(samples_dir / "fish"))
    assert line.startswith(f"{samples_dir / 'fish'}: is not empty and holds no gallery")
    (samples_dir / "gallery").write_text("")
    (line,) = refused(view_dataset, samples_dir)
    assert line.startswith(f"{samples_dir / 'gallery'}: is no folder, but files are to be written")


def test_no_network_is_loaded(samples_dir):
    done = command("view_dataset", "--dataset_dir", str(samples_dir))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(samples_dir / "synthesized")
    done = command("view_dataset", "--dataset_dir", str(samples_dir))
    assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr

"""The drill: comparing trees, choosing moments, telling what came out; and a small real one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from scripts.drill.__main__ import main
from scripts.drill.config import DrillConfig
from scripts.drill.datasets import DrillDatasets, one_error
from scripts.drill.kills import Tally, kill_in_a_row
from scripts.drill.lines import COLUMNS, last_sentence, line, skipped
from scripts.drill.moments import VICTIMS, Kind, chains, choose_kills, kinds
from scripts.drill.processes import Ended, children_of
from scripts.drill.snapshots import (
    Watch,
    broken_files,
    differences,
    largest_difference,
    tree,
)
from scripts.reporting import Line, cells

RECORD = {"index": 0, "status": "refined", "image_format": "jpg"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """An entry with one sample, refined, as far as the drill looks at it."""
    entry = tmp_path / "synthesized" / "fish-1"
    for name in ("generated_images/image_000000.jpg", "attention_masks/image_000000.png"):
        (entry / name).parent.mkdir(parents=True)
        Image.new("L", (64, 64), 7).save(entry / name)
    (entry / "aligndiff_masks").mkdir()
    Image.new("L", (64, 64), 255).save(entry / "aligndiff_masks/image_000000.png")
    (entry / "samples").mkdir()
    (entry / "samples/image_000000.json").write_text(json.dumps(RECORD))
    return tmp_path


def test_trees_differ_by_missing_by_more_and_by_other_files(dataset: Path) -> None:
    wanted = tree(dataset)
    assert differences(wanted, tree(dataset)) == []
    (dataset / "synthesized/fish-1/samples/image_000000.json").unlink()
    (dataset / "synthesized/fish-1/samples/.image_000000.json.1.tmp").touch()
    Image.new("L", (64, 64)).save(dataset / "synthesized/fish-1/aligndiff_masks/image_000000.png")
    assert differences(wanted, tree(dataset)) == [
        "missing: synthesized/fish-1/samples/image_000000.json",
        "too much: synthesized/fish-1/samples/.image_000000.json.1.tmp",
        "other bytes: synthesized/fish-1/aligndiff_masks/image_000000.png",
    ]


@pytest.mark.parametrize("name", ["generated_images/image_000000.jpg", "samples/image_000000.json"])
def test_half_a_file_is_found(dataset: Path, name: str) -> None:
    assert broken_files(dataset) == []
    file = dataset / "synthesized/fish-1" / name
    data = file.read_bytes()[: file.stat().st_size // 2]
    file.with_name(f".{file.name}.1.tmp").write_bytes(data)
    assert broken_files(dataset) == []  # it is not there under its name yet
    file.write_bytes(data)
    (problem,) = broken_files(dataset)
    assert problem.startswith(f"half: synthesized/fish-1/{name}: ")


def test_a_record_that_promises_a_mask_which_is_not_there_is_found(dataset: Path) -> None:
    (dataset / "synthesized/fish-1/aligndiff_masks/image_000000.png").unlink()
    (problem,) = broken_files(dataset)
    assert problem.endswith("promises aligndiff_masks/image_000000.png, which is not there")


def test_the_largest_difference_of_two_datasets(dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    masks = "synthesized/fish-1/aligndiff_masks"
    (other / masks).mkdir(parents=True)
    assert largest_difference(dataset, other, "aligndiff_masks") == 255
    picture = Image.new("L", (64, 64), 255)
    picture.putpixel((3, 5), 250)
    picture.save(other / masks / "image_000000.png")
    assert largest_difference(other, dataset, "aligndiff_masks") == 5


def test_a_watch_sees_what_appears_where_it_looks(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    watch = Watch(tmp_path, frozenset({"samples"}))
    (tmp_path / "elsewhere").touch()
    (tmp_path / "samples/.aligndiff.lock").touch()
    assert not watch.has_changed()
    (tmp_path / "samples/image_000000.json").touch()
    assert watch.has_changed()


def test_kills_are_spread_over_all_kinds_and_half_of_them_aimed_at_the_work() -> None:
    every = kinds((1, 2, 3))
    assert len(every) == 12
    kills = choose_kills(every, 50, seed=0)
    assert kills == choose_kills(every, 50, seed=0) != choose_kills(every, 50, seed=1)
    assert set(Counter(kill.kind for kill in kills).values()) == {4, 5}
    assert 22 <= sum(kill.aimed for kill in kills) <= 28
    assert {kill.kind.victim for kill in kills} == set(VICTIMS)
    assert all(0 < kill.sooner().fraction < kill.fraction < 1 for kill in kills)


def test_chains_hold_each_kill_once() -> None:
    kills = choose_kills([Kind(2, "parent")], 7, seed=0)
    assert [len(chain) for chain in chains(kills)] == [3, 3, 1]
    assert [kill for chain in chains(kills) for kill in chain] == kills
    alone = choose_kills([Kind(2, "worker")], 2, seed=0)
    assert [len(chain) for chain in chains(alone)] == [1, 1]


def test_a_refusal_is_one_line_with_its_code() -> None:
    good = Ended(2, 1.0, "note: something\nerror: fish: no images\n")
    assert one_error(good, 2, "no images") == []
    bar = "segmenting (two passes): 40% in 01:00:09, 4/10,  1.28it/s, 00:08 left, fish 4/10\n"
    assert one_error(Ended(2, 1.0, bar + good.said), 2, "no images") == []
    assert len(one_error(Ended(2, 1.0, "something else: 4\n" + good.said), 2)) == 1
    assert one_error(good, 1) == ["exit code 2 instead of 1: error: fish: no images"]
    assert one_error(good, 2, "pairs") == ['"pairs" is not said']
    bug = Ended(70, 1.0, "Traceback (most recent call last):\nKeyError: 1\n")
    assert len(one_error(bug, 2)) == 3


def test_the_table_tells_what_passed_what_did_not_and_what_was_left_out() -> None:
    lines = [
        line("kills", "step 1", 5, "the same bytes", [], time.monotonic()),
        line("kills", "step 2", 5, "the same bytes", list("abcde"), time.monotonic()),
        skipped("ray", "a node", "Ray is not installed"),
    ]
    assert [cells(COLUMNS, found)[3:5] for found in lines] == [
        ("the same bytes", "yes"),
        ("a; b; c; and 2 more", "NO"),
        ("skipped: Ray is not installed", "-"),
    ]
    assert lines[1].problems == tuple("abcde")
    assert last_sentence(lines, 1.5) == "1 of 2 passed, 1 could not be tried; 1.5 minutes"
    assert "|" not in cells(COLUMNS, Line("kills", "a", 1, "s", 1, outcome="a|b"))[3]


def test_children_are_found_and_the_ended_are_not() -> None:
    code = "import subprocess, sys; print('up', flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline() == b"up\n"
    assert child.pid in children_of(os.getpid())
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.pid not in children_of(os.getpid())


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        (["--scenarios", "flood"], "invalid choice: 'flood'"),
        (["--kills", "0"], "--kills: must be 1 to 10000, is 0"),
        (["--kils", "3"], "did you mean --kills"),
    ],
)
def test_mistakes_on_the_command_line(typed: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=problem):
        main([*typed, "--output_dir", str(tmp_path)])


def test_quick_is_step_2_and_few_kills() -> None:
    assert DrillConfig(quick=True).steps == (2,) and DrillConfig(quick=True).kill_count == 4
    assert DrillConfig(quick=True, kills=9).kill_count == 9


def test_two_real_kills(tmp_path: Path) -> None:
    """SIGKILL of step 1 and of the run that continues it; then the same bytes as without."""
    datasets = DrillDatasets(DrillConfig(output_dir=tmp_path))
    tally = Tally()
    kill_in_a_row(datasets, choose_kills([Kind(1, "alone")], 2, seed=0), tally)
    assert (tally.hits, tally.problems) == (2, [])
    assert "fish/learned_embeddings/learned_embeds.safetensors" in datasets.tree_after(1)


def test_the_report_of_a_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = line("hostile", "a flag", 1, "one line", ["exit code 0 instead of 2"], time.monotonic())
    monkeypatch.setattr("scripts.drill.hostile.drill", lambda datasets: iter([found]))
    assert main(["--scenarios", "hostile", "--output_dir", str(tmp_path)]) == 1
    (told,) = json.loads((tmp_path / "drill.json").read_text())["lines"]
    assert told["problems"] == ["exit code 0 instead of 2"] and told["passed"] is False
    assert (tmp_path / "drill.md").read_text().count("| NO |") == 1
    assert (tmp_path / "drill_work").is_dir(), "to look at what did not pass"

"""The benchmark as a command: a quick run of its cheap parts, and mistakes in one line."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from aligndiff.core.errors import AlignDiffError, InputError
from scripts.benchmark import whole_scripts
from scripts.benchmark.__main__ import MEASURES, main
from scripts.benchmark.commands import run
from scripts.benchmark.config import PARTS, BenchmarkConfig
from scripts.benchmark.growing import grow, grow_refinement, grow_synthesis
from scripts.example import SYNTHESIS, copy_example

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_quick_run_of_the_parts_without_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    asked = ["--quick", "--repeats", "1", "--device", "cpu", "--output_dir", str(folder)]
    assert main([*asked, "--parts", "d", "c", "a", "b"]) == 0
    found = json.loads((folder / "benchmark.json").read_text())
    lines = found["lines"]
    assert [part for part in "abcd" if any(line["group"] == part for line in lines)] == [*"abcd"]
    assert [line["group"] for line in lines] == sorted(line["group"] for line in lines)
    assert all(line["value"] > 0 and line["what"] and line["unit"] for line in lines)
    fused = next(line for line in lines if line["group"] == "b")
    assert fused["unit"] == "ms" and fused["floor"] == 5
    assert fused["target"] == {"bound": 10, "kind": "at most"}
    assert fused["holds"] is (fused["value"] <= 10)
    # What holds on any machine, however busy: times of tiny networks are told without a target, and
    # the masks do not depend on the clock.
    by_name = {line["what"]: line for line in lines}
    for what in ("first pass, float32, against it", "second pass against the first, float32"):
        told = by_name[f"tiny SSP: {what}"]
        assert (told["unit"], told["n"], told["target"], told["holds"]) == ("x", 1, None, None)
    masks = by_name["tiny SSP: masks of 16 bits, mean IoU with float32"]
    assert masks["target"] == {"bound": 0.995, "kind": "at least"} and masks["holds"]
    assert found["device"] == "CPU" and found["threads"] == 1 and "torch" in found["versions"]
    assert sorted(path.name for path in folder.iterdir()) == ["benchmark.json", "benchmark.md"]
    printed = capsys.readouterr().out
    assert "targets hold" in printed and "| part | what |" in (folder / "benchmark.md").read_text()


def test_growth_runs_the_stages_on_real_files(tmp_path: Path) -> None:
    folder = copy_example(tmp_path / "example", texts_only=True)
    sizes = (1, 2, 3)
    for points in (grow_synthesis(folder, sizes, CPU), grow_refinement(folder, sizes, CPU)):
        assert [point.size for point in points] == [1, 2, 3]
        assert all(point.seconds > 0 for point in points)
    (entry,) = folder.glob("synthesized/*/samples")
    records = [json.loads(path.read_text()) for path in sorted(entry.iterdir())]
    assert [record["status"] in ("refined", "rejected") for record in records] == [True] * 3


def test_growth_warms_up_and_then_does_every_size_once() -> None:
    done: list[int] = []
    points = grow(done.append, (1, 10, 100), CPU)
    assert done == [10, 1, 10, 100] and [point.size for point in points] == [1, 10, 100]


def test_every_part_has_a_module() -> None:
    assert list(MEASURES) == list(PARTS)


def in_this_process(config: BenchmarkConfig, words: list[str]) -> float:
    """Instead of a process of its own, which would take seconds to import the libraries."""
    started = time.perf_counter()
    with pytest.raises(SystemExit) as ended:
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    return time.perf_counter() - started


def test_whole_scripts_are_run_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(whole_scripts, "run", in_this_process)
    config = BenchmarkConfig(quick=True, repeats=1, device="cpu", output_dir=tmp_path)
    lines = list(whole_scripts.measure(config, CPU))
    steps = {number: [x for x in lines if x.what.startswith(f"step {number}")] for number in "123"}
    assert [len(found) for found in steps.values()] == [2, 2, 2]
    for seconds, rate in steps.values():
        items = int(seconds.what.split()[2])
        assert rate.value == pytest.approx(items / seconds.value)


def test_a_script_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    config = BenchmarkConfig(output_dir=tmp_path)
    assert run(config, [SYNTHESIS, "--overwrit"], expected=2) > 0
    with pytest.raises(AlignDiffError, match="exit code 2: error: .*--dataset_dir"):
        run(config, [SYNTHESIS, "--overwrit"])


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        (["--parts", "z"], "invalid choice: 'z'"),
        (["--qick"], "did you mean --quick"),
        (["--repeats", "0"], "--repeats: must be 1 or more"),
        (["--threads", "0"], "--threads: must be 1 or more"),
        (["--quick", "--full"], "not allowed with argument"),
        (["--device", "cuda"], "torch sees no such device"),
    ],
)
def test_mistakes_on_the_command_line(typed: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=problem):
        main([*typed, "--output_dir", str(tmp_path)])


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "scripts.benchmark", "--output_dir", str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: --output_dir ") and done.stderr.count("\n") == 1


def test_a_user_s_own_files_stay(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.txt").write_text("mine")
    assert main(["--quick", "--repeats", "1", "--parts", "b", "--output_dir", str(tmp_path)]) == 0
    assert (tmp_path / "work" / "mine.txt").read_text() == "mine"

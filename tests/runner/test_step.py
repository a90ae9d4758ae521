"""The driver of the steps, with a toy step: what is read once, what is done, by whom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.device import known_precision
from aligndiff.core.errors import InputError
from aligndiff.core.exits import exit_with
from aligndiff.dataset import prompt_bank
from aligndiff.runner import step as driver
from aligndiff.runner.lock import LOCK_FILE, folder_lock
from aligndiff.runner.options import RunOptions
from aligndiff.runner.step import check_device, open_work, run_step
from tests.runner import toy_step
from tests.runner.toy_step import STEP, Toy, made
from tests.torchrun import torchrun_variables

ROOT = Path(__file__).resolve().parents[2]
ALL = 9  # units: three of each of three entries


def run(root: Path, *words: str) -> int:
    return run_step(STEP, ["--dataset_dir", str(root), "--device", "cpu", *words])


@pytest.fixture
def toy_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are started by the toy's own command, which `aligndiff` does not know."""
    monkeypatch.setattr(driver, "COMMAND", toy_step.__name__)


def set_defaults(root: Path, **values: Any) -> None:
    path = root / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"defaults": values}))


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[tuple[Any, ...]]:
    """The calls of a function from now on."""
    calls: list[tuple[Any, ...]] = []
    real: Callable[..., Any] = getattr(module, name)

    def call(*args: Any) -> Any:
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(module, name, call)
    return calls


def test_the_command_line_is_parsed_once_and_the_bank_read_once(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = counted(monkeypatch, driver, "parse")
    read = counted(monkeypatch, prompt_bank, "read_json")
    assert run(dataset_dir) == 0
    assert len(parsed) == 1
    assert [args for args in read if args[0].name == "dataset.json"] == read and len(read) == 1


def test_what_is_not_typed_is_the_banks_default_and_then_the_options(dataset_dir: Path) -> None:
    set_defaults(dataset_dir, num_inference_steps=9)
    assert run(dataset_dir) == 0
    assert {(file["steps"], file["guidance"]) for file in made(dataset_dir).values()} == {(9, 7.5)}
    assert run(dataset_dir, "--num_inference_steps", "50", "--overwrite") == 0
    assert {file["steps"] for file in made(dataset_dir).values()} == {50}, "typed, if as usual"


def test_every_typed_value_out_of_its_range_is_told_at_once(dataset_dir: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(dataset_dir, "--num_inference_steps", "0", "--retries", "101")
    assert caught.value.problems == (
        "--retries: must be 0 to 100, is 101",
        "--num_inference_steps: must be 1 to 1000, is 0",
    )
    assert not (dataset_dir / "toy").exists()


def test_units_that_are_missing_are_done_and_no_others(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset_dir, "--fails", "4") == 1
    assert sorted(made(dataset_dir)) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert "toys: 9 units, 1 failed, told [{'kept': []}]" in capsys.readouterr().out
    (dataset_dir / "toy/7.json").unlink()
    done = counted(monkeypatch, Toy, "do")
    assert run(dataset_dir) == 0
    ((_, units),) = done
    assert [path.name for path, _ in units] == ["4.json", "7.json"]
    assert "toys: 9 units, 0 failed, told [{'kept': [0, 1, 2, 3, 5, 6, 8]}]" in (
        capsys.readouterr().out
    )
    assert run(dataset_dir) == 0 and len(done) == 1, "with nothing missing nobody begins"
    assert run(dataset_dir, "--overwrite") == 0 and len(done[1][1]) == ALL


def test_a_bank_with_nothing_to_do_is_told_and_nothing_is_planned(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = counted(monkeypatch, Toy, "survey")
    assert run(dataset_dir, "--categories", "albatross") == 0
    assert capsys.readouterr().out == "nothing to do: no object\n"
    assert planned == [] and not (dataset_dir / LOCK_FILE).exists()


def test_one_run_at_a_time_in_a_dataset_folder(dataset_dir: Path) -> None:
    with (
        folder_lock(dataset_dir, "another command"),
        pytest.raises(InputError, match=r"another run works .* \(another command, process "),
    ):
        run(dataset_dir)
    assert run(dataset_dir) == 0


def test_workers_do_the_missing_units_each_knows_its_own_by_number(
    dataset_dir: Path, toy_workers: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset_dir, "--categories", "fish") == 0
    (dataset_dir / "toy/2.json").unlink()
    assert run(dataset_dir, "--workers", "2", "--num_inference_steps", "3") == 0
    files = made(dataset_dir)
    new = {number: file for number, file in files.items() if file["rank"] is not None}
    assert sorted(new) == [2, 6, 7, 8], "all others were there"
    assert {file["rank"] for file in new.values()} == {0, 1}
    for number, file in new.items():
        assert number in file["assigned"] and file["steps"] == 3
        assert file["precision"] == known_precision("auto", "cpu"), "what auto came to"
    assigned = {tuple(file["assigned"]) for file in new.values()}
    assert sorted(number for numbers in assigned for number in numbers) == sorted(new)
    told = capfd.readouterr().out
    assert told.count("weights: of no matter") == 2, "one for each run: workers say nothing"
    assert "toys: 9 units, 0 failed" in told


def test_workers_of_a_run_that_overwrites_fill_the_gaps_that_it_made(
    dataset_dir: Path, toy_workers: None
) -> None:
    assert run(dataset_dir) == 0
    assert run(dataset_dir, "--workers", "2", "--overwrite") == 0
    assert {file["rank"] for file in made(dataset_dir).values()} == {0, 1}


def test_a_worker_that_fails_reaches_the_exit_code(
    dataset_dir: Path, toy_workers: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset_dir, "--workers", "2", "--fails", "5") == 1
    assert sorted(made(dataset_dir)) == [0, 1, 2, 3, 4, 6, 7, 8]
    assert "toys: 9 units, 1 failed" in capfd.readouterr().out


def test_processes_of_a_launch_share_the_units_and_the_first_hears_all_of_them(
    dataset_dir: Path,
) -> None:
    assert run(dataset_dir, "--categories", "fish") == 0
    words = [sys.executable, "-m", toy_step.__name__, STEP.name, "--dataset_dir", str(dataset_dir)]
    processes = [
        subprocess.Popen(
            words,
            cwd=ROOT,
            env=os.environ | torchrun_variables(rank),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    first, second = (process.communicate(timeout=120)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert "toys: 9 units, 0 failed, told [{'kept': [0, 2, 4]}, {'kept': [1, 3, 5]}]" in first
    assert second == "", "the first one speaks"
    assert {n: made(dataset_dir)[n]["rank"] for n in (6, 7, 8)} == {6: 0, 7: 1, 8: 0}


def test_open_work_is_the_same_work_for_one_process_among_others(dataset_dir: Path) -> None:
    work = open_work(STEP, ["--dataset_dir", str(dataset_dir), "--num_inference_steps", "4"])
    assert isinstance(work, Toy) and len(work.units) == ALL
    work.do([work.units[5]])
    assert {number: file["steps"] for number, file in made(dataset_dir).items()} == {5: 4}


@pytest.mark.parametrize("goes", [False, True])
def test_a_folder_that_goes_during_the_work_is_a_fault_whatever_was_missed(
    goes: bool,
    dataset_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A file that is not there any more is bad input only where its folder still is."""

    def missed(self: Toy, units: Any) -> None:
        if goes:
            dataset_dir.rename(dataset_dir.with_name("away"))
        raise InputError("embedding: no such file; run step 1 first")

    monkeypatch.setattr(Toy, "do", missed)
    with pytest.raises(SystemExit) as end:
        exit_with(lambda: run(dataset_dir))
    told = capsys.readouterr().err
    if goes:
        gone = "this folder was here and is gone: bring it back, or mount its disk again"
        assert end.value.code == 1
        assert (
            told == f"error: {dataset_dir}: {gone}; then run the same command again to continue\n"
        )
    else:
        assert end.value.code == 2 and told == "error: embedding: no such file; run step 1 first\n"


def test_the_devices_of_rays_machines_are_not_looked_for_here(tmp_path: Path) -> None:
    options = RunOptions(tmp_path, device="cuda")
    with pytest.raises(InputError, match="--device cuda: torch sees no such device here"):
        check_device(options)
    check_device(replace(options, launcher="ray"))
    with pytest.raises(InputError, match="--precision float16 needs a GPU"):
        check_device(RunOptions(tmp_path, precision="float16"))


def test_a_cluster_of_gpus_is_told_its_precision_by_a_machine_that_has_none(
    dataset_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else "auto" would be the number format of this machine's CPU, on all the GPUs."""
    pytest.importorskip("ray", reason="Ray is an optional package")
    from ray.cluster_utils import Cluster

    def touched(self: Toy) -> None:
        raise AssertionError("what is there was touched")

    monkeypatch.setattr(Toy, "make_room", touched)
    head = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False}
    with monkeypatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "0")  # Ray believes in it
        cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        where = ["--dataset_dir", str(dataset_dir), "--launcher", "ray"]
        where += ["--ray_address", cluster.address]
        for words in ([], ["--precision", "auto"], ["--precision=auto"]):
            with pytest.raises(InputError, match="this machine has none: add --precision bfloat16"):
                run_step(STEP, [*where, *words])
        for words in (["--precision", "float16"], ["--precision=float16"]):
            with pytest.raises(AssertionError, match="was touched"):
                run_step(STEP, [*where, *words])
    finally:
        cluster.shutdown()

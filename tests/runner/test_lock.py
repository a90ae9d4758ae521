from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.runner.group import only_run_in
from aligndiff.runner.lock import LOCK_FILE
from tests.runner.processes import end, start
from tests.torchrun import torchrun_variables

# Holds the lock until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from aligndiff.core.exits import exit_with
from aligndiff.runner.group import only_run_in

def main():
    with only_run_in(Path(sys.argv[1]), "mask_generation"):
        print("has it", flush=True)
        {meanwhile}
        sys.stdin.read()
    return 0
exit_with(main)
"""
CHILD = (
    "import subprocess; child = subprocess.Popen(['sleep', '60'], close_fds=False); "
    "print(child.pid, flush=True)"
)


def hold(root: Path, meanwhile: str = "", **variables: str) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder, or was refused it."""
    return start(root, HOLDER.format(meanwhile=meanwhile), **variables)


def test_the_second_run_is_told_who_works_there(tmp_path: Path) -> None:
    first = hold(tmp_path)
    second = hold(tmp_path)
    said = second.communicate()[1]
    assert second.returncode == 2
    assert said.startswith(
        f"error: {tmp_path}: another run works in this dataset folder (mask_generation, "
    )
    assert f"process {first.pid} on " in said and "wait until it ends, or stop it\n" in said
    assert end(first) == [0]
    assert list(tmp_path.iterdir()) == [], "the lock's file went with its last holder"
    assert end(hold(tmp_path)) == [0]


def test_processes_of_one_launch_hold_it_together(tmp_path: Path) -> None:
    first, second = (hold(tmp_path, **torchrun_variables(rank)) for rank in range(2))
    other = hold(tmp_path, **torchrun_variables(0, run_id="b"))
    assert end(other) == [2]
    assert end(first) == [0]
    assert (tmp_path / LOCK_FILE).exists(), "one of them is still at work"
    assert end(hold(tmp_path)) == [2]
    assert end(second) == [0]
    assert list(tmp_path.iterdir()) == []


def test_commands_typed_in_one_slurm_step_are_runs_of_their_own(tmp_path: Path) -> None:
    step = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    first = hold(tmp_path, **step)
    assert end(hold(tmp_path, **step)) == [2]
    assert end(first) == [0]


def test_many_that_come_at_once_get_it_one_at_a_time(tmp_path: Path) -> None:
    processes = [hold(tmp_path) for _ in range(2)]
    codes = sorted(end(*processes[::-1]))
    assert codes == [0, 2]


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    first = hold(tmp_path)
    first.kill()
    first.wait()
    assert (tmp_path / LOCK_FILE).exists()
    assert end(hold(tmp_path)) == [0]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_started_keeps_the_lock(tmp_path: Path) -> None:
    first = hold(tmp_path, CHILD)
    assert first.stdout is not None
    child = int(first.stdout.readline())
    first.kill()
    first.wait()
    with pytest.raises(InputError), only_run_in(tmp_path):
        pass
    os.kill(child, signal.SIGKILL)
    with only_run_in(tmp_path):
        pass


def test_workers_leave_it_to_their_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hold(tmp_path)
    monkeypatch.setenv("ALIGNDIFF_RANK", "0")
    with only_run_in(tmp_path):
        pass
    monkeypatch.delenv("ALIGNDIFF_RANK")
    with pytest.raises(InputError), only_run_in(tmp_path):
        pass
    assert end(first) == [0]


def test_a_folder_that_vanishes_takes_the_lock_along(tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    root.mkdir()
    with only_run_in(root):
        (root / LOCK_FILE).unlink()
        root.rmdir()
    assert not root.exists()

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aligndiff.ground.errors import InputError
from aligndiff.ground.lock import LOCK_FILE, only_run_in

# Holds the lock until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from aligndiff.ground.errors import exit_with
from aligndiff.ground.lock import only_run_in

def main():
    with only_run_in(Path(sys.argv[1])):
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


@pytest.fixture(autouse=True)
def a_launch_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def start(root: Path, meanwhile: str = "", **variables: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(meanwhile=meanwhile), str(root)],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.first_line = process.stdout.readline()  # type: ignore[attr-defined]
    return process


def end(*processes: subprocess.Popen[str]) -> list[int]:
    return [process.communicate()[0] and 0 or process.returncode for process in processes]


def test_the_second_run_is_told_who_works_there(tmp_path: Path) -> None:
    first = start(tmp_path)
    second = start(tmp_path)
    said = second.communicate()[1]
    assert second.returncode == 2
    assert said.startswith(f"error: {tmp_path}: another run works in this dataset folder (-c, ")
    assert f"process {first.pid} on " in said and "wait until it ends, or stop it\n" in said
    assert end(first) == [0]
    assert list(tmp_path.iterdir()) == [], "the lock's file went with its last holder"
    assert end(start(tmp_path)) == [0]


def test_processes_of_one_launch_hold_it_together(tmp_path: Path) -> None:
    torchrun = {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "node1",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_RUN_ID": "a",
    }
    first, second = start(tmp_path, **torchrun), start(tmp_path, **torchrun)
    other = start(tmp_path, **torchrun | {"TORCHELASTIC_RUN_ID": "b"})
    assert end(other) == [2]
    assert end(first) == [0]
    assert (tmp_path / LOCK_FILE).exists(), "one of them is still at work"
    assert end(start(tmp_path)) == [2]
    assert end(second) == [0]
    assert list(tmp_path.iterdir()) == []


def test_commands_typed_in_one_slurm_step_are_runs_of_their_own(tmp_path: Path) -> None:
    step = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    first = start(tmp_path, **step)
    assert end(start(tmp_path, **step)) == [2]
    assert end(first) == [0]


def test_many_that_come_at_once_get_it_one_at_a_time(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(2)]
    codes = sorted(end(*processes[::-1]))
    assert codes == [0, 2]


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    first = start(tmp_path)
    first.kill()
    first.wait()
    assert (tmp_path / LOCK_FILE).exists()
    assert end(start(tmp_path)) == [0]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_started_keeps_the_lock(tmp_path: Path) -> None:
    first = start(tmp_path, CHILD)
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
    first = start(tmp_path)
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

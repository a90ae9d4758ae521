from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core.errors import InputError
from aligndiff.runner.lock import LOCK_FILE, only_run_in

# Holds the lock until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from aligndiff.core.exits import exit_with
from aligndiff.runner.lock import only_run_in

def main():
    with only_run_in(Path(sys.argv[1])):
        print("has it", flush=True)
        {meanwhile}
        sys.stdin.read()
    return 0
exit_with(main)
"""
# Works until a line comes in, then leaves with the others.
MEMBER = """
import os, sys
from pathlib import Path
from aligndiff.runner import lock
from aligndiff.core.exits import exit_with

lock._LATEST = 2.0

def main():
    with lock.only_run_in(Path(sys.argv[1])) as company:
        print("works", flush=True)
        sys.stdin.readline()
        with company.leaving({"rank": company.share.rank}) as words:
            print("leaving", [told["rank"] for told in words], flush=True)
            if os.environ["RANK"] == "0":
                sys.stdin.readline()  # its report takes a while
    return int(os.environ["RANK"])
exit_with(main)
"""
TORCHRUN = {
    "RANK": "0",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "a",
}
CHILD = (
    "import subprocess; child = subprocess.Popen(['sleep', '60'], close_fds=False); "
    "print(child.pid, flush=True)"
)


@pytest.fixture(autouse=True)
def a_launch_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def start(
    root: Path, meanwhile: str = "", code: str = "", **variables: str
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code or HOLDER.format(meanwhile=meanwhile), str(root)],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.first_line = process.stdout.readline()  # type: ignore[attr-defined]
    return process


def member(root: Path, rank: int, of: int = 2) -> subprocess.Popen[str]:
    """A process of a launch, at work."""
    return start(root, code=MEMBER, **TORCHRUN | {"RANK": str(rank), "WORLD_SIZE": str(of)})


def tell(process: subprocess.Popen[str]) -> None:
    """Let a member go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def has_ended(process: subprocess.Popen[str], within: float) -> bool:
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


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
    first, second = (start(tmp_path, **TORCHRUN | {"RANK": rank}) for rank in "01")
    other = start(tmp_path, **TORCHRUN | {"TORCHELASTIC_RUN_ID": "b"})
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


def test_processes_of_one_launch_leave_together(tmp_path: Path) -> None:
    """Else torchrun stops the others when one of them ends with 1, or five minutes later."""
    first, second = member(tmp_path, 0), member(tmp_path, 1)
    tell(second)
    assert not has_ended(second, 0.5), "the first one still works"
    tell(first)
    # The first one knows what the other had to say.
    assert first.stdout is not None and first.stdout.readline() == "leaving [0, 1]\n"
    assert not has_ended(second, 0.5), "the first one still reports"
    tell(first)
    assert end(first, second) == [0, 1]
    assert list(tmp_path.iterdir()) == []


def test_the_first_one_reports_when_all_are_done(tmp_path: Path) -> None:
    processes = [member(tmp_path, rank, of=3) for rank in range(3)]
    first = processes[0]
    tell(first)
    assert first.stdout is not None
    assert first.stdout.readline() == "this process is done; waiting for the others\n"
    tell(processes[2])
    processes[1].kill()  # one that is gone is not waited for
    assert first.stdout.readline() == "leaving [0, 2]\n"
    tell(first)
    assert end(*processes) == [0, -signal.SIGKILL, 2]


def test_a_process_that_begins_late_is_waited_for(tmp_path: Path) -> None:
    first = member(tmp_path, 0)
    tell(first)
    second = member(tmp_path, 1)
    assert first.stdout is not None
    assert first.stdout.readline() == "this process is done; waiting for the others\n"
    assert not has_ended(first, 2.5), "more than the time by which all come"
    tell(second)
    assert first.stdout.readline() == "leaving [0, 1]\n"
    tell(first)
    assert end(first, second) == [0, 1]


def test_one_that_never_begins_is_not_waited_for(tmp_path: Path) -> None:
    second = member(tmp_path, 1)
    tell(second)
    assert has_ended(second, 20) and second.returncode == 1


def test_what_ends_a_process_that_is_done_does_not_change_its_code(tmp_path: Path) -> None:
    first, second = member(tmp_path, 0), member(tmp_path, 1)
    tell(second)
    assert second.stdout is not None and second.stdout.readline() == "leaving [1]\n"
    assert not has_ended(second, 1), "it waits for the first one"
    second.terminate()
    assert second.communicate()[1] == "" and second.returncode == 1
    first.terminate()
    assert first.wait() == 128 + signal.SIGTERM, "this one had work left"


def test_a_large_launch_is_complete_when_all_came(tmp_path: Path, monkeypatch: Any) -> None:
    for name, value in (TORCHRUN | {"WORLD_SIZE": "600"}).items():
        monkeypatch.setenv(name, value)
    with only_run_in(tmp_path) as company:
        assert not company._all_came()
        with (tmp_path / LOCK_FILE).open("a") as file:
            file.writelines(f"process {rank} is there\n" for rank in range(1, 600))
        assert company._all_came()


def test_without_locks_each_process_tells_of_its_own_share(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits there: what the others have not done yet must not count as failed."""

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with only_run_in(tmp_path) as company, company.leaving("words") as words:
        assert not company.tells_all and words == ["words"]
        assert company.title("images") == "images of process 0 of 2"
    assert "no file locks here" in capsys.readouterr().err
    monkeypatch.delenv("RANK")
    with only_run_in(tmp_path) as alone:
        assert alone.tells_all and alone.title("images") == "images"

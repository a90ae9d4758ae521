from __future__ import annotations

import errno
import fcntl
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aligndiff.runner.group import only_run_in
from aligndiff.runner.lock import LOCK_FILE
from tests.runner.processes import end, start
from tests.torchrun import torchrun_variables

# Works until a line comes in, then leaves with the others.
MEMBER = """
import os, sys
from pathlib import Path
from aligndiff.core.exits import exit_with
from aligndiff.runner import group

group._LATEST = 2.0

def main():
    with group.only_run_in(Path(sys.argv[1])) as launched:
        print("works", flush=True)
        sys.stdin.readline()
        with launched.finish({"rank": launched.share.rank}) as messages:
            print("leaving", [message["rank"] for message in messages], flush=True)
            if os.environ["RANK"] == "0":
                sys.stdin.readline()  # its report takes a while
    return int(os.environ["RANK"])
exit_with(main)
"""


def member(root: Path, rank: int, of: int = 2) -> subprocess.Popen[str]:
    """A process of a launch, at work."""
    return start(root, MEMBER, **torchrun_variables(rank, of))


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
    for name, value in torchrun_variables(0, 600).items():
        monkeypatch.setenv(name, value)
    with only_run_in(tmp_path) as group:
        assert not group._all_came()
        with (tmp_path / LOCK_FILE).open("a") as file:
            file.writelines(f"process {rank} is there\n" for rank in range(1, 600))
        assert group._all_came()


def test_without_locks_each_process_tells_of_its_own_share(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits there: what the others have not done yet must not count as failed."""

    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for name, value in torchrun_variables(0).items():
        monkeypatch.setenv(name, value)
    with only_run_in(tmp_path) as group, group.finish("message") as messages:
        assert not group.reports_all and messages == ["message"]
        assert group.title("images") == "images of process 0 of 2"
    assert "no file locks here" in capsys.readouterr().err
    monkeypatch.delenv("RANK")
    with only_run_in(tmp_path) as alone:
        assert alone.reports_all and alone.title("images") == "images"

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from aligndiff.core.ranks import note_progress
from aligndiff.runner import local as launch
from aligndiff.runner.local import Assignment, read_assignment, read_progress, run_workers

WORKER = """
import os, signal, sys, time
from pathlib import Path

from aligndiff.core.ranks import note_progress
from aligndiff.runner import local
from aligndiff.runner.local import end_with_parent, read_assignment

rank, size = os.environ["ALIGNDIFF_RANK"], os.environ["ALIGNDIFF_WORLD_SIZE"]
folder, *ends = sys.argv[1:]
end = ends[int(rank)]
if end == "once":  # is killed the first time
    end = "kill" if not Path(folder, f"died_{rank}").exists() else "0"
    Path(folder, f"died_{rank}").touch()
if end == "wait":
    Path(folder, f"waiting_{rank}").touch()
    time.sleep(60)
if end == "says":
    print("note: out of memory, going on\\n\\nin two", file=sys.stderr, end="", flush=True)
    time.sleep(1.5)
    print(" pieces", file=sys.stderr)
    print("no end of line", file=sys.stderr, end="", flush=True)
if end == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    local._GRACE = 0.5
    end = "orphan"
if end == "late":
    time.sleep(0.3)
seen = [os.environ.get(name, "-") for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
Path(folder, f"done_{rank}").write_text(" ".join([rank, size, *seen, str(read_assignment().units)]))
if end == "assigned":
    Path(folder, end).write_text(str(read_assignment()))
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if end == "orphan":
    end_with_parent()
    Path(folder, f"waiting_{rank}").write_text(str(os.getpid()))
    time.sleep(60)
note_progress(2, "fish")
note_progress(1, "fish", status="loss 0.3")
if end.isdigit() and end != "0":
    print("first line", file=sys.stderr)
    print("error: broken thing", file=sys.stderr)
    sys.exit(int(end))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(launch.__file__).parents[2]}")
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ALIGNDIFF_RANK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def told(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("done_*"))]


def test_each_worker_gets_its_rank_and_its_device(folder: Path) -> None:
    argv = [str(folder), "0", "0"]
    assert run_workers("toy_worker", argv, ["3", "GPU-ab"], [[4, 7], [5]]) == 0
    assert told(folder) == ["0 2 3 - [4, 7]", "1 2 GPU-ab - [5]"]


def test_workers_hear_of_overwrite_from_their_parent_only(folder: Path) -> None:
    """Their own command line has none: they fill the gaps."""
    assert read_assignment() == Assignment(None, False)
    for overwrites in (False, True):
        argv = [str(folder), "assigned"]
        assert run_workers("toy_worker", argv, [None], [[2]], overwrites=overwrites) == 0
        assert (folder / "assigned").read_text() == str(Assignment([2], overwrites))


def test_cpu_workers_share_the_cores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "available_cores", lambda: 8)
    assert run_workers("toy_worker", [str(folder), "0", "0"], [None, None], [[], []]) == 0
    assert told(folder) == ["0 2 - 4 []", "1 2 - 4 []"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run_workers("toy_worker", [str(folder), "0"], [None], [[]]) == 0
    assert told(folder)[0] == "0 1 - 3 []"


def test_dead_workers_are_named_and_the_others_live_on(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = [str(folder), "7", "late", "kill", "1"]
    assert run_workers("toy_worker", argv, ["0", "1", "2", None], [[]] * 4) == 1
    assert len(told(folder)) == 4
    errors = capfd.readouterr().err
    assert "[worker 0] first line\n" in errors
    assert "error: worker 0 of 4 on device 0 ended with exit code 7: error: broken thing" in errors
    assert "error: worker 2 of 4 on device 2 was killed by SIGKILL\n" in errors
    assert "error: worker 3 of 4 ended with exit code 1: error: broken thing" in errors
    assert "worker 1 of 4" not in errors


@pytest.mark.parametrize(
    ("ends", "code"), [(("1", "2", "0"), 2), (("1", "70", "0"), 70), (("70", "2"), 2)]
)
def test_bad_input_or_a_bug_found_by_a_worker_is_the_end_of_the_run(
    folder: Path, ends: tuple[str, ...], code: int
) -> None:
    count = len(ends)
    assert run_workers("toy_worker", [str(folder), *ends], [None] * count, [[]] * count) == code


def test_what_a_worker_says_is_passed_on_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of one which ends well, and before it does."""
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(
        launch.console, "warn", lambda line: said.append((line, len(list(folder.glob("done_*")))))
    )
    assert run_workers("toy_worker", [str(folder), "says", "0"], [None] * 2, [[]] * 2) == 0
    assert [line for line, _ in said] == [
        "[worker 0] note: out of memory, going on",
        "[worker 0] in two pieces",
        "[worker 0] no end of line",
    ]
    assert said[0][1] < 2, "told while the worker was still at work"


def test_the_bar_moves_by_what_the_workers_tell(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[tuple[int, str, str]] = []

    @contextmanager
    def bar(description: str, totals: Mapping[str, int]) -> Iterator[Callable[..., None]]:
        assert (description, totals) == ("drawing", {"fish": 6})
        yield lambda count, category, status: moved.append((count, category, status))

    monkeypatch.setattr(launch.console, "progress", bar)
    argv = [str(folder), "late", "0"]
    assert run_workers("toy_worker", argv, [None, None], [[], []], 0, {"fish": 6}, "drawing") == 0
    assert moved == [(2, "fish", ""), (1, "fish", "loss 0.3")] * 2


def test_what_a_worker_told_is_read_once_and_in_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "worker.progress"
    monkeypatch.setenv("ALIGNDIFF_PROGRESS", str(file))
    assert read_progress(file, 0) == ([], 0)
    note_progress(2, 'a "b"\n', status="é")
    steps, end = read_progress(file, 0)
    assert steps == [(2, 'a "b"\n', "é")] and end == file.stat().st_size
    with file.open("a") as out:
        out.write("[1, ")  # it is killed here, and started again
    assert read_progress(file, end) == ([], end)
    note_progress(3)
    note_progress(4)
    assert read_progress(file, end)[0] == [(4, "", "")]


def test_a_worker_that_dies_is_started_again(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = [str(folder), "once", "0"]
    assert run_workers("toy_worker", argv, [None, None], [[], []], retries=1) == 0
    assert "error: worker 0 of 2 was killed by SIGKILL; started again\n" in capfd.readouterr().err
    assert len(told(folder)) == 2
    assert run_workers("toy_worker", [str(folder), "kill"], [None], [[]], retries=2) == 1
    errors = capfd.readouterr().err.splitlines()
    assert [line.endswith("; started again") for line in errors] == [True, True, False]
    assert run_workers("toy_worker", [str(folder), "1"], [None], [[]], retries=2) == 1
    assert "started again" not in capfd.readouterr().err, "it would fail again"


@pytest.mark.parametrize("end", ["orphan", "deaf"])
def test_workers_end_with_a_parent_that_is_killed(folder: Path, end: str) -> None:
    """Also one that does not hear a signal: it would keep the lock of the dataset folder."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(folder=str(folder), end=end)])
    waiting = wait_for_workers(folder)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{path.read_text()}").exists() for path in waiting):
        assert time.monotonic() < until, "a worker goes on unseen"
        time.sleep(0.05)


PARENT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
from aligndiff.core.exits import exit_with
from aligndiff.runner.local import run_workers
exit_with(lambda: run_workers("toy_worker", [{folder!r}, {end!r}, {end!r}], [None, None], [[], []]))
"""


def wait_for_workers(folder: Path) -> list[Path]:
    until = time.monotonic() + 20
    while len(found := list(folder.glob("waiting_*"))) < 2:
        assert time.monotonic() < until, "the workers did not start"
        time.sleep(0.05)
    time.sleep(0.1)  # let them write what they do
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_the_parent_stops_the_workers(number: signal.Signals, folder: Path) -> None:
    code = PARENT.format(folder=str(folder), end="wait")
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    wait_for_workers(folder)
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=20)
    assert parent.returncode == 128 + number
    assert errors == "stopped; run the same command again to continue\n"
    assert told(folder) == []

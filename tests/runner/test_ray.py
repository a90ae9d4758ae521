"""Work on a real Ray cluster of two nodes, on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aligndiff.core import console
from aligndiff.core.errors import InputError
from aligndiff.runner.ray import RayExecutor, ray_cluster

pytest.importorskip("ray", reason="Ray is an optional package")

REPOSITORY = Path(__file__).parents[2]
WORK = """
import errno, os, sys, time
from pathlib import Path
from aligndiff.core.errors import AlignDiffError, InputError

class Work:
    def __init__(self, folder, mood):
        self.folder, self.mood, self.units = Path(folder), mood, [f"unit_{n}" for n in range(8)]
        if mood == "dies at once":
            os._exit(9)
        if mood == "cannot begin":
            raise InputError("nothing here; put something there")
    def do(self, units):
        for unit in units:
            begun = self.folder / f"{unit}.begun"
            with begun.open("a") as file:
                print(os.getpid(), file=file)
            times = len(begun.read_text().splitlines())
            if self.mood == "slow":
                time.sleep(0.5)
            if self.mood == "dies" and unit == "unit_2":
                os._exit(9)
            if self.mood == "dies once" and unit == "unit_2" and times == 1:
                os._exit(9)
            if self.mood == "has a bug" and unit == "unit_1":
                1 / 0
            if self.mood == "full disk":
                raise OSError(errno.ENOSPC, "", unit)
            if self.mood == "raises" and unit == "unit_1":
                print("note: what it said before", file=sys.stderr)
                raise AlignDiffError("the disk is full")
            print("note:", unit, os.environ["ALIGNDIFF_RANK"], file=sys.stderr)
            (self.folder / unit).touch()

def open_work(argv):
    return Work(*argv)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # stays on the loopback
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "num_gpus": 0, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        found.add_node(num_cpus=1, num_gpus=0)
        yield found
    finally:
        found.shutdown()
        patch.undo()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy_work.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def work(cluster: Any, folder: Path, mood: str, **options: Any) -> int:
    with ray_cluster(cluster.address) as ray:
        executor = RayExecutor(ray, ("toy_work", (str(folder), mood)), **options)
        return executor.run([(number, 1) for number in range(8)])


def done(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in folder.glob("unit_?"))


def pids(folder: Path) -> set[str]:
    return {pid for path in folder.glob("*.begun") for pid in path.read_text().split()}


def test_actors_of_both_nodes_do_all_units(
    cluster: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert work(cluster, folder, "slow") == 0
    assert done(folder) == list(range(8))
    assert len(pids(folder)) == 2
    *said, bar = capfd.readouterr().err.splitlines()
    assert "8/8" in bar
    assert sorted(line[:12] for line in said) == [f"note: unit_{n}" for n in range(8)]


def test_a_lost_actor_is_replaced_and_its_unit_done_again(
    cluster: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert work(cluster, folder, "dies once", retries=1) == 0
    assert done(folder) == list(range(8))
    assert (folder / "unit_2.begun").read_text().count("\n") == 2
    said = capfd.readouterr().err
    assert "note: an actor was lost: The actor died" in said and "given up" not in said


def test_a_unit_that_kills_its_actors_is_given_up(
    cluster: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert work(cluster, folder, "dies", retries=1) == 1
    assert done(folder) == [0, 1, 3, 4, 5, 6, 7]
    said = capfd.readouterr().err.splitlines()
    assert "error: a part of the work lost its actor 2 times, and is given up" in said
    assert (folder / "unit_2.begun").read_text().count("\n") == 2


def test_an_actor_that_raises_is_told_and_the_others_go_on(
    cluster: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert work(cluster, folder, "raises", actors=2) == 1
    assert done(folder) == [0, 2, 3, 4, 5, 6, 7]
    said = capfd.readouterr().err.splitlines()
    assert "error: an actor ended: the disk is full" in said
    assert "note: what it said before" in said


def test_a_bug_in_an_actor_is_told_with_its_traceback(
    cluster: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert work(cluster, folder, "has a bug", actors=2) == 70
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_what_no_actor_can_begin_is_bad_input(
    cluster: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert work(cluster, folder, "cannot begin") == 2
    assert done(folder) == []
    said = set(capfd.readouterr().err.splitlines())
    assert said == {"error: an actor ended: nothing here; put something there"}


@pytest.mark.parametrize(
    ("overwrites", "advice"),
    [(False, "again to continue"), (True, "again, without --overwrite unless it is asked for, to")],
)
def test_a_fault_of_a_node_says_how_to_continue(
    cluster: Any, folder: Path, overwrites: bool, advice: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Actors are started without --overwrite; the run knows whether it had it."""
    assert work(cluster, folder, "full disk", actors=1, overwrites=overwrites) == 1
    told, _ = capfd.readouterr().err.splitlines()
    assert told.startswith("error: an actor ended: unit_0: No space left on device: make space")
    assert f"then run the same command {advice}" in told


def test_actors_that_die_before_they_begin_are_not_replaced_for_ever(
    cluster: Any, folder: Path
) -> None:
    assert work(cluster, folder, "dies at once", retries=1) == 1
    assert done(folder) == []


def test_a_node_that_is_taken_away_loses_nothing(
    cluster: Any, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It goes in the middle; what its actor had in hand is done on the other one."""
    extra = cluster.add_node(num_cpus=1, num_gpus=0)

    def take_away() -> None:
        until = time.monotonic() + 60
        while len(done(folder)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        cluster.remove_node(extra, allow_graceful=False)

    remover = threading.Thread(target=take_away)
    remover.start()
    code = work(cluster, folder, "slow", retries=2)
    remover.join()
    assert code == 0 and done(folder) == list(range(8))


def test_the_bar_moves_by_the_weights(
    cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[tuple[int, str]] = []

    @contextmanager
    def bar(description: str, totals: Mapping[str, int]) -> Iterator[Callable[..., None]]:
        assert totals == {"fish": 5, "dog": 2}
        yield lambda count, category: moved.append((count, category))

    monkeypatch.setattr(console, "progress", bar)
    with ray_cluster(cluster.address) as ray:
        executor = RayExecutor(ray, ("toy_work", (str(folder), "")))
        assert executor.run([(3, 5), (6, 2)], "", {3: "fish", 6: "dog"}) == 0
    assert sorted(moved) == [(2, "dog"), (5, "fish")] and done(folder) == [3, 6]


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense", "host:99999"])
def test_no_cluster_is_told_at_once(address: str) -> None:
    with pytest.raises(InputError) as caught, ray_cluster(address):
        pass
    (problem,) = caught.value.problems
    assert problem.startswith(f"--launcher ray: no Ray cluster found ({address}); start one with")


def test_the_environment_may_name_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(InputError, match=r"found \(127.0.0.1:9\)"), ray_cluster(None):
        pass


STOPPED = """
import sys
from aligndiff.core.exits import exit_with
from aligndiff.runner.ray import RayExecutor, ray_cluster

def main():
    with ray_cluster(sys.argv[1]) as ray:
        executor = RayExecutor(ray, ("toy_work", (sys.argv[2], "slow")))
        return executor.run([(number, 1) for number in range(8)])
exit_with(main)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_takes_its_actors_along(
    cluster: Any, folder: Path, number: signal.Signals
) -> None:
    """Ray has a handler of its own for SIGTERM, and other exit codes."""
    words = [sys.executable, "-c", STOPPED, cluster.address, str(folder)]
    env = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    # Tests that run in the background ignore SIGINT, and so would what they start.
    process = subprocess.Popen(
        words,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 60
    while not done(folder) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + number
    assert errors.splitlines()[-1] == "stopped; run the same command again to continue"
    time.sleep(1)
    assert len(done(folder)) < 8
    before = done(folder)
    time.sleep(1)
    assert done(folder) == before, "no actor goes on"

"""The check of a card, on a CPU: all of it runs, and a line that fails stops no other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from aligndiff.core.errors import InputError
from aligndiff.diffusion import sampling
from scripts.benchmark.full_networks import SMALL, stable_diffusion
from scripts.gpu_check import attempts, compiling, families, memory
from scripts.gpu_check.__main__ import main
from scripts.gpu_check.attempts import Attempt, Place, lines_apart, lines_of
from scripts.gpu_check.config import CHECKS, MODULES, GpuCheckConfig
from scripts.gpu_check.lines import at_most, figure, tried
from scripts.reporting import Line

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    config = GpuCheckConfig(device="cpu", output_dir=tmp_path)
    config.work_dir.mkdir()
    return Place(config, time.time() + 600)


def test_all_of_it_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--output_dir", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    lines = found["lines"]
    assert list(dict.fromkeys(line["group"] for line in lines)) == list(CHECKS)
    assert found["device"] == "CPU"
    assert all(line["n"] or "only a card" in line["outcome"] for line in lines)
    # One process or two, what they leave is the same: the CPU against itself.
    same = [x for x in lines if "against the CPU" in x["what"]]
    assert len(same) == 10 and all(line["holds"] for line in same)
    assert {x["value"] for x in same if x["unit"] == "" and "difference" in x["what"]} == {0.0}
    printed = capsys.readouterr().out
    assert "left out" in printed and "learning" not in printed
    kept = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert kept == ["gpu_check.json", "gpu_check.md", "log.txt"]
    assert "| check | what |" in (tmp_path / "out" / "gpu_check.md").read_text()


def fails_in_the_middle(place: Place) -> Iterator[Attempt]:
    def broken() -> Iterator[Line]:
        yield tried("families", "before", "fine")
        raise ZeroDivisionError("no\nluck")

    yield Attempt("broken", broken)
    yield Attempt("too long", lambda: [tried("families", "never", "")], 10_000)
    yield Attempt("after", lambda: [figure("families", "after", 2.0, "s", at_most(1))])
    raise KeyError("the next")


def test_a_line_that_fails_stops_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "attempts", fails_in_the_middle)
    lines = list(lines_of("families", place))
    assert [(line.what, line.holds) for line in lines] == [
        ("before", True),
        ("broken", False),
        ("too long", None),
        ("after", False),
        ("the rest of it", False),
    ]
    assert lines[1].outcome == "ZeroDivisionError: no luck"
    assert "left out: the minutes are over" in lines[2].outcome
    log = place.config.log.read_text()
    assert log.count("Traceback") == 2 and "fails_in_the_middle" in log


def test_a_process_of_its_own_gives_the_same_lines(place: Place) -> None:
    here, apart = list(lines_of("families", place)), list(lines_apart("families", place))
    assert [line.what for line in here] == [line.what for line in apart]
    assert [line.holds for line in here] == [line.holds for line in apart]
    over = Place(place.config, time.time() + 0.5)
    assert [line.n for line in lines_apart("families", over)] == [0], "it is stopped in time"


def test_a_process_that_dies_is_a_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "families", "no_such_module")
    (line,) = lines_of("families", place)
    assert line.passed is False and "ModuleNotFoundError" in line.outcome
    monkeypatch.setattr(attempts, "_work", dies)
    (line,) = lines_apart("families", place)
    assert line.passed is False and line.outcome == "its process ended with exit code 3"


def dies(check: str, place: Place, there: Any) -> None:
    raise SystemExit(3)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that runs out of memory as a card does: while it is filled, 4 rows fit."""

    def check(_module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if len(args[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    @contextmanager
    def filled(device: torch.device, room: int) -> Iterator[None]:
        monkeypatch.setattr(sampling, "free_memory", lambda device: room)
        handle = PIPE[0].unet.register_forward_pre_hook(check)
        try:
            yield
        finally:
            handle.remove()

    PIPE[:] = [stable_diffusion(SMALL, CPU, torch.float32)]
    monkeypatch.setattr(memory, "filled", filled)


PIPE: list[Any] = []


def test_batches_that_do_not_fit(place: Place, little_memory: None) -> None:
    lines = [
        *memory._chosen_when_full(place, PIPE[0]),
        *memory._halved_drawing(place, PIPE[0]),
        *memory._halved_learning(place, PIPE[0]),
    ]
    assert all(line.holds for line in lines), lines
    outcomes = [line.outcome for line in lines if line.outcome]
    assert outcomes == ["2 images, drawn", "all made, 16 at once became 2", "1 times halved"]


def test_memory_that_suffices_is_told(
    place: Place, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def not_filled(device: torch.device, room: int) -> Iterator[None]:
        yield

    monkeypatch.setattr(memory, "filled", not_filled)
    drawing, _, learning, _ = (
        *memory._halved_drawing(place, PIPE[0]),
        *memory._halved_learning(place, PIPE[0]),
    )
    assert (drawing.holds, learning.holds) == (False, False)
    assert "16 images at once did fit" in drawing.outcome


def test_a_heatmap_that_changes_the_image_is_seen(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = families.plain
    monkeypatch.setattr(families, "plain", lambda *args: real(*args) ^ 1)
    line, *_ = lines_of("families", place)
    assert line.holds is False and "differ from the plain call's" in line.outcome


def test_without_a_card_one_line_says_so(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="--device cuda: torch sees no such device"):
        main(["--output_dir", str(tmp_path)])


def test_every_check_has_a_module() -> None:
    assert list(MODULES) == list(CHECKS)
    for name in (families, compiling, memory):
        assert name.CHECK in CHECKS

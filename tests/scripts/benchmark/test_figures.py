"""The benchmark's arithmetic, on figures worked out by hand."""

from __future__ import annotations

import pytest
import torch

from scripts.benchmark.config import PARTS, QUICK, USUAL, BenchmarkConfig
from scripts.benchmark.growing import Point, bend, price_of_memory, price_of_time
from scripts.benchmark.lines import COLUMNS, at_least, at_most, line, show
from scripts.benchmark.memory import Peak, alternate_peaks, can_be_measured, peak_of, resident
from scripts.benchmark.refinement import mean_iou
from scripts.benchmark.timing import Spread, alternate, ratios, spread
from scripts.reporting import Circumstances, Line, Report, cells, closing

CPU = torch.device("cpu")


def test_sides_alternate_and_every_other_round_runs_backwards() -> None:
    order: list[str] = []
    ticks = iter(range(100))

    def now() -> float:
        order.append("|")
        return next(ticks)

    sides = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = alternate(sides, 3, now)
    rounds = "".join(order).replace("||", " ").replace("|", " ").split()
    assert rounds == ["abc", *"abc", *"cba", *"abc"]  # the first one runs without a clock
    assert seconds == {"a": [1, 1, 1], "b": [1, 1, 1], "c": [1, 1, 1]}


def test_seconds_belong_to_their_side_in_a_backward_round_too() -> None:
    elapsed = 0.0

    def take(seconds: float) -> None:
        nonlocal elapsed
        elapsed += seconds

    sides = {"short": lambda: take(1.0), "long": lambda: take(5.0)}
    assert alternate(sides, 2, lambda: elapsed) == {"short": [1.0, 1.0], "long": [5.0, 5.0]}


def test_medians_quartiles_and_ratios() -> None:
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(2.0, 3.0, 4.0, 5)
    assert spread([1.0, 2.0]) == Spread(1.25, 1.5, 1.75, 2)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0, 1)
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


def test_a_line_in_words() -> None:
    found = line("a", "drawing", [1.02, 1.04, 1.06], "x", 1.0, at_most(1.05))
    assert (found.value, found.spread, found.n) == (1.04, (1.03, 1.05), 3)
    assert cells(COLUMNS, found) == (
        *("a", "drawing", "1.040 x", "1.030 to 1.050", "1", "at most 1.05", "yes", "3"),
    )
    alone = line("f", "--help", [1.25], "s", target=at_most(1.0))
    assert cells(COLUMNS, alone) == ("f", "--help", "1.25 s", "", "", "at most 1", "NO", "1")
    assert len(cells(COLUMNS, alone)) == len(COLUMNS)
    assert line("g", "memory", [3.0], "MB").holds is None


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0123456, "s", "0.0123"),
        (0.3, "s", "0.300"),
        (12.345, "ms", "12.3"),
        (1234.5, "MB", "1234"),
        (-3.21, "KB", "-3.21"),
        (0.0, "KB", "0.00"),
        (12.3456, "x", "12.346"),
        (0.99876, "IoU", "0.9988"),
    ],
)
def test_numbers_have_the_digits_their_unit_deserves(value, unit, shown) -> None:
    assert show(value, unit) == shown


def test_growth_of_something_linear_and_flat() -> None:
    linear = [Point(n, 3 + 0.5 * n, 1000) for n in (1, 10, 100, 1000)]
    assert price_of_time(linear[0], linear[1]) == pytest.approx(0.5)
    assert bend(linear) == pytest.approx(1.0)
    assert price_of_memory(*linear[-2:]) == 0


def test_growth_of_something_quadratic_and_hoarding() -> None:
    points = [Point(n, 0.01 * n**2, 7000 + 64 * n) for n in (10, 100, 1000)]
    # (10000 - 100) / 900 = 11 seconds a piece, after (100 - 1) / 90 = 1.1
    assert price_of_time(*points[-2:]) == pytest.approx(11.0)
    assert bend(points) == pytest.approx(10.0)
    assert price_of_memory(*points[-2:]) == pytest.approx(64.0)


def test_status_of_a_linux_process() -> None:
    status = "Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nVmRSS:\t  256 kB\nThreads:\t2\n"
    assert resident(status) == {"VmHWM": 512 * 1024, "VmRSS": 256 * 1024}
    assert Peak(256, 512).own == 256


needs_peaks = pytest.mark.skipif(
    not can_be_measured(CPU), reason="this system tells no process its peak memory"
)


@needs_peaks
def test_a_peak_is_seen_though_it_has_passed_and_is_forgotten_by_the_next() -> None:
    def large() -> None:
        torch.ones(64, 2**20, dtype=torch.uint8)  # 64 MB, gone at once

    peaks = alternate_peaks({"large": large, "none": lambda: None}, 2, CPU)
    assert [60 * 2**20 < peak.own < 80 * 2**20 for peak in peaks["large"]] == [True, True]
    assert all(peak.own < 10 * 2**20 for peak in peaks["none"])


@needs_peaks
def test_a_peak_counts_from_what_is_in_use_before() -> None:
    kept = torch.ones(64, 2**20, dtype=torch.uint8)
    peak = peak_of(lambda: None, CPU)
    assert peak.own < 10 * 2**20 and peak.before > kept.numel()


def test_mean_iou_counts_a_missing_mask_as_nothing() -> None:
    import numpy as np

    half, whole = np.array([[True, False]]), np.array([[True, True]])
    assert mean_iou({1: half, 2: whole}, {1: whole, 2: whole}) == 0.75
    assert mean_iou({1: whole}, {1: whole, 2: whole}) == 0.5
    assert mean_iou({}, {}) == 0.0


def test_the_report_says_where_it_is_from_and_what_holds() -> None:
    where = Circumstances(
        *("python -m scripts.benchmark", "2026-01-02", "abc1234", "2 cores of X, Linux"),
        *({"torch": "2.13"}, 2, "CPU", "float32"),
    )
    lines = [
        line("b", "heatmap", [4.0], "ms", 5.0, at_most(10.0)),
        line("d", "masks", [0.9], "IoU", target=at_least(0.995)),
        line("e", "script", [3.0], "s"),
    ]
    assert closing(lines, 1.25) == "1 of 2 targets hold; 1.2 minutes"
    told = Report("the benchmark", "benchmark", COLUMNS, where).markdown(lines, 1.25).splitlines()
    assert told[0] == (
        "`python -m scripts.benchmark`; 2026-01-02; 2 cores of X, Linux, 2 threads; "
        "device CPU, float32; torch 2.13; commit abc1234"
    )
    assert told[2] == "| part | what | value | quartiles | floor | target | holds | n |"
    assert told[5] == "| d | masks | 0.9000 IoU |  |  | at least 0.995 | NO | 1 |"


def test_quick_is_smaller_in_everything() -> None:
    names = ("repeats", "large_repeats", "short_repeats", "script_repeats")
    for name in (*names, "images_per_class", "inversion_steps", "sizes", "batches"):
        least, usual = getattr(QUICK, name), getattr(USUAL, name)
        most = least[-1] if isinstance(least, tuple) else least
        assert most < (usual[-1] if isinstance(usual, tuple) else usual)
    assert USUAL.sizes == (1, 10, 100, 1000) and len(QUICK.sizes) >= 3  # `bend` needs three
    assert BenchmarkConfig(repeats=7).large_rounds == 7
    assert BenchmarkConfig(quick=True).rounds == QUICK.repeats
    assert BenchmarkConfig().parts == tuple(PARTS)


def test_a_line_of_one_measurement_has_no_quartiles() -> None:
    assert line("g", "seconds", [2.0], "s") == Line("g", "seconds", 2.0, "s", 1)

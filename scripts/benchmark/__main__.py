"""Measure what the three steps cost, against what their networks cost, and print one table.

Comparisons alternate in one process; figures are medians and quartiles. docs/PERFORMANCE.md says
what each line means.
"""

from __future__ import annotations

import importlib
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.core.options import parse
from scripts.benchmark.config import PARTS, BenchmarkConfig, Part
from scripts.reporting import (
    Circumstances,
    Line,
    Report,
    cells,
    circumstances,
    make_work_folder,
)

if TYPE_CHECKING:
    import torch

MODULE = "scripts.benchmark"
EPILOG = (
    "Nothing but the tiny models is needed: larger networks have random weights, which cost the "
    "same. A quiet machine gives the best figures; ratios bear some noise."
)
MEASURES: dict[Part, str] = {
    "a": "drawing",
    "b": "heatmaps",
    "c": "inversion",
    "d": "refinement",
    "e": "whole_scripts",
    "f": "startup",
    "g": "growing",
    "h": "composing",
    "i": "masks",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, measure part by part, report; 0 when it ran, whatever the figures."""
    argv = sys.argv[1:] if argv is None else argv
    line = parse(f"python -m {MODULE}", __doc__ or "", EPILOG, {"benchmark": BenchmarkConfig}, argv)
    config = line.config(BenchmarkConfig)
    make_work_folder(config.output_dir, config.work_dir)
    quiet_libraries()

    import torch

    from aligndiff.core.device import choose_device
    from scripts.benchmark.lines import COLUMNS

    device = choose_device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    where = _circumstances(shlex.join(["python", "-m", MODULE, *argv]), device)
    report = Report("the benchmark", "benchmark", COLUMNS, where)
    say(str(where))
    started, lines = time.monotonic(), list[Line]()
    for part, title in PARTS.items():
        if part not in config.parts:
            continue
        say(f"{part}: {title} ...")
        for line in importlib.import_module(f"scripts.benchmark.{MEASURES[part]}").measure(
            config, device
        ):
            lines.append(line)
            say("  " + "  ".join(cell for cell in cells(COLUMNS, line)[1:4] if cell))
        # After every part: a later one that fails does not cost the earlier ones.
        report.write(config.output_dir, lines, (time.monotonic() - started) / 60)
    report.show(lines, (time.monotonic() - started) / 60)
    shutil.rmtree(config.work_dir, ignore_errors=True)
    say(f"all of it: {config.output_dir / 'benchmark.md'} and benchmark.json beside it")
    return 0


def _circumstances(command: str, device: torch.device) -> Circumstances:
    import torch

    from aligndiff.core.device import choose_dtype

    gpu = device.type == "cuda"
    return circumstances(
        command,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if gpu else device.type.upper(),
        precision=str(choose_dtype("auto", device)).removeprefix("torch."),
    )


if __name__ == "__main__":
    exit_with(main)

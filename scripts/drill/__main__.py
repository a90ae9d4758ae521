"""Kill, stop, starve and mislead the steps, and hold what they leave against quiet runs.

Real processes, signals and disks, on the tiny models. docs/DRILL.md says what each line means.
"""

from __future__ import annotations

import importlib
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.errors import AlignDiffError
from aligndiff.core.exits import exit_with
from aligndiff.core.options import parse
from scripts.drill.config import SCENARIOS, DrillConfig, Scenario
from scripts.drill.datasets import DrillDatasets
from scripts.drill.lines import COLUMNS, last_sentence, line
from scripts.reporting import Line, Report, cells, circumstances, make_work_folder

MODULE = "scripts.drill"
EPILOG = "Exit code 1 when something did not pass; what it left is then below the output folder."
MODULES: dict[Scenario, str] = {
    "launchers": "launchers",
    "kills": "kills",
    "signals": "signals",
    "full_disk": "disks",
    "gone_disk": "gone_disks",
    "rivals": "rivals",
    "sample": "samples",
    "ray": "ray_nodes",
    "hostile": "hostile",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, go through the scenarios, report; 0 when all passed, else 1."""
    argv = sys.argv[1:] if argv is None else argv
    line = parse(f"python -m {MODULE}", __doc__ or "", EPILOG, {"drill": DrillConfig}, argv)
    config = line.config(DrillConfig)
    make_work_folder(config.output_dir, config.work_dir)
    shutil.rmtree(config.work_dir)  # what an earlier drill left
    config.work_dir.mkdir()
    quiet_libraries()
    # A shell that starts us in the background has it ignored, and the commands would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    command = shlex.join(["python", "-m", MODULE, *argv])
    where = circumstances(command, device="CPU", precision="float32")
    report = Report("the drill", "drill", COLUMNS, where, last_sentence)
    say(str(where))
    started, lines, datasets = time.monotonic(), list[Line](), DrillDatasets(config)
    for scenario, title in SCENARIOS.items():
        if scenario not in config.scenarios:
            continue
        say(f"{scenario}: {title} ...")
        for found in _lines(scenario, datasets):
            lines.append(found)
            say("  " + "  ".join(cells(COLUMNS, found)[1:]))
            # After every line: what stops the drill does not cost the earlier ones.
            report.write(config.output_dir, lines, (time.monotonic() - started) / 60)
    report.show(lines, (time.monotonic() - started) / 60)
    say(f"all of it: {config.output_dir / 'drill.md'} and drill.json beside it")
    if any(line.passed is False for line in lines):
        return 1
    shutil.rmtree(config.work_dir, ignore_errors=True)
    return 0


def _lines(scenario: Scenario, datasets: DrillDatasets) -> Iterator[Line]:
    """Those of a scenario; one that cannot go on is a line that did not pass."""
    started = time.monotonic()
    try:
        yield from importlib.import_module(f"scripts.drill.{MODULES[scenario]}").drill(datasets)
    except (AlignDiffError, OSError, ValueError) as error:
        yield line(scenario, "the rest of it", 1, "", [str(error)], started)


if __name__ == "__main__":
    exit_with(main)

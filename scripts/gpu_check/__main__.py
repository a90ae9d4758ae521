"""Check on this machine's CUDA card what the project promises, and print one table.

Each line says whether it holds; one that fails does not stop the others. docs/GPU.md says what
each line means.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Sequence

from aligndiff.core.console import quiet_libraries, say
from aligndiff.core.exits import exit_with
from aligndiff.core.options import parse
from scripts.gpu_check.attempts import Place, lines_apart, lines_of
from scripts.gpu_check.config import CHECKS, GpuCheckConfig
from scripts.gpu_check.lines import COLUMNS, last_sentence, left_out
from scripts.reporting import Circumstances, Line, Report, cells, circumstances, make_work_folder

MODULE = "scripts.gpu_check"
EPILOG = (
    "Nothing but this repository is needed: large networks get random weights. Exit code 1 when "
    "something does not hold; log.txt has the tracebacks."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, go through the checks, report; 0 when all that was tried holds, else 1."""
    argv = sys.argv[1:] if argv is None else argv
    line = parse(f"python -m {MODULE}", __doc__ or "", EPILOG, {"check": GpuCheckConfig}, argv)
    config = line.config(GpuCheckConfig)
    started = time.monotonic()
    place = Place(config, time.time() + 60 * config.minutes)
    make_work_folder(config.output_dir, config.work_dir)
    config.log.unlink(missing_ok=True)
    quiet_libraries()
    where = _circumstances(shlex.join(["python", "-m", MODULE, *argv]), place)
    report = Report("the check", "gpu_check", COLUMNS, where, last_sentence)
    say(str(where))
    lines = list[Line]()
    for check, title in CHECKS.items():
        if check not in config.checks:
            continue
        say(f"{check}: {title} ...")
        if place.seconds_left <= 0:
            lines.append(left_out(check, title, "the minutes are over"))
            continue
        # After an error of CUDA nothing else works in a process; a CPU has none.
        for found in (lines_of if config.small else lines_apart)(check, place):
            lines.append(found)
            say("  " + "  ".join(cell for cell in cells(COLUMNS, found)[1:5] if cell))
            # After every line: what stops the check does not cost the earlier ones.
            report.write(config.output_dir, lines, (time.monotonic() - started) / 60)
    report.write(config.output_dir, lines, (time.monotonic() - started) / 60)
    report.show(lines, (time.monotonic() - started) / 60)
    say(f"all of it: {config.output_dir / 'gpu_check.md'} and gpu_check.json beside it")
    if any(line.holds is False for line in lines):
        return 1
    shutil.rmtree(config.work_dir, ignore_errors=True)
    return 0


def _circumstances(command: str, place: Place) -> Circumstances:
    """With the card's name. Raises InputError where there is none."""
    import torch

    name = "CPU"
    details: dict[str, object] = {}
    if place.device.type == "cuda":
        card = torch.cuda.get_device_properties(place.device)
        name = card.name
        details = {
            "memory_gib": round(card.total_memory / 2**30, 1),
            "capability": f"{card.major}.{card.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    precision = str(place.dtype).removeprefix("torch.")
    return circumstances(command, device=name, precision=precision, details=details)


if __name__ == "__main__":
    exit_with(main)

"""Memory that suffices for an image but not for a batch of them: `ulimit -v` in between."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from scripts.drill.datasets import DrillDatasets, await_that
from scripts.drill.lines import line, skipped
from scripts.drill.processes import Command
from scripts.drill.snapshots import largest_difference
from scripts.reporting import Line, Target

_WHAT = "step 2: memory for one image, and batches of 8"
# Large enough for a batch to need some hundred MB, PNG for grey levels as they were drawn.
_OPTIONS = (
    *("--categories", "fish", "--image_per_entry", "8", "--num_inference_steps", "1"),
    *("--side", "256", "--image_format", "png"),
)
_CLOSE = Target(1, "at most")  # grey levels, as for other batch sizes
_WORTH_IT = 100 * 2**20  # bytes between the two, below which a limit would be a matter of luck


def little_memory(datasets: DrillDatasets) -> Line:
    """Measure what batches of 1 and of 8 need, then draw 8 at once with what lies in between."""
    started = time.monotonic()
    plenty, little = datasets.fresh(2), datasets.fresh(2)
    batches = {size: datasets.words(2, plenty, *_OPTIONS, "--batch_size", size) for size in "18"}
    least = _peak([*batches["1"]])
    most = _peak([*batches["8"], "--overwrite"])
    if most - least < _WORTH_IT:
        return skipped("sample", _WHAT, "the addresses tell nothing of the memory here")
    words = datasets.words(2, little, *_OPTIONS, "--batch_size", "8")
    with Command(words, (least + most) // 2) as command:
        ended = command.wait()
    smaller = re.findall(r"out of memory with 8 images at once, going on with (\d)", ended.said)
    problems = ended.problems()
    if not smaller:
        problems.append(f"no batch became smaller: {ended.last_words}")
    apart = largest_difference(plenty, little, "generated_images")
    if not _CLOSE.holds(apart):
        problems.append(f"images {apart} grey levels apart")
    fine = f"the batches became smaller, exit code 0, all images there, {apart} grey levels apart"
    return line("sample", _WHAT, 1, fine, problems, started)


def _peak(words: Sequence[str]) -> int:
    """Bytes of address space that an undisturbed run of a command needs."""
    peaks = [0]
    with Command(words) as command:
        await_that(command, lambda: peaks.append(max(peaks.pop(), command.peak_memory)))
        command.wait()
    return peaks[0]

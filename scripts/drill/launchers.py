"""The same files, byte for byte, whoever does the work; the same images for any batch size."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from scripts.drill.datasets import DrillDatasets
from scripts.drill.lines import line, skipped
from scripts.drill.processes import TORCHRUN, Command, run
from scripts.drill.ray_nodes import RAY_WORDS, has_ray, two_nodes
from scripts.drill.snapshots import largest_difference
from scripts.reporting import Line, Target

# Grey levels: sums of floats are added in another order, and a level may round the other way.
CLOSE = Target(1, "at most")
_SAME = "the same {} files as of one process, byte for byte"


def drill(datasets: DrillDatasets) -> Iterator[Line]:
    for step in datasets.config.steps:
        yield _line(datasets, step, "--workers 2", after=("--workers", "2"))
        yield _line(datasets, step, "torchrun with 2 processes", before=TORCHRUN)
        yield _by_srun(datasets, step)
    if not datasets.config.quick:
        yield from _on_ray(datasets)
    yield _batches(datasets)


def _on_ray(datasets: DrillDatasets) -> Iterator[Line]:
    what = "Ray with 2 nodes"
    if not has_ray():
        yield skipped("launchers", what, "Ray is not installed")
        return
    with two_nodes() as (address, _, _):
        for step in datasets.config.steps:
            yield _line(datasets, step, what, after=(*RAY_WORDS, address))


def _by_srun(datasets: DrillDatasets, step: int) -> Line:
    """Two processes with the variables that srun would give them; the second begins later.

    To them this process is the script of their task, from which srun's variables come.
    """
    started = time.monotonic()
    wanted = len(datasets.tree_after(step))
    dataset = datasets.fresh(step)
    words = datasets.words(step, dataset)
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
    job["SLURM_TASK_PID"] = str(os.getpid())
    with Command(words, variables={**job, "SLURM_PROCID": "0"}) as first:
        time.sleep(1)
        with Command(words, variables={**job, "SLURM_PROCID": "1"}) as second:
            problems = first.wait().problems() + second.wait().problems()
    problems += datasets.compare(step, dataset)
    fine = _SAME.format(wanted)
    return line(
        "launchers", f"step {step}: 2 tasks of srun, by its variables", 1, fine, problems, started
    )


def _line(
    datasets: DrillDatasets,
    step: int,
    what: str,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> Line:
    """A step with words before and after its usual ones."""
    started = time.monotonic()
    wanted = len(datasets.tree_after(step))
    dataset = datasets.fresh(step)
    problems = run([*before, *datasets.words(step, dataset, *after)]).problems()
    problems += datasets.compare(step, dataset)
    fine = _SAME.format(wanted)
    return line("launchers", f"step {step}: {what}", 1, fine, problems, started)


def _batches(datasets: DrillDatasets) -> Line:
    """Step 2 with batches of 1 and 4; the images without JPEG's own rounding."""
    started = time.monotonic()
    drawn = {size: datasets.fresh(2) for size in (1, 4)}
    problems = list[str]()
    for size, dataset in drawn.items():
        options = ("--batch_size", str(size), "--image_format", "png")
        problems += run(datasets.words(2, dataset, *options)).problems()
    found = {
        name: largest_difference(drawn[1], drawn[4], folder)
        for name, folder in (("images", "generated_images"), ("heatmaps", "attention_masks"))
    }
    told = ", ".join(f"{name} {levels} of 255" for name, levels in found.items())
    problems += [f"too far apart: {told}"] * (not all(map(CLOSE.holds, found.values())))
    what = "step 2: --batch_size 1 and 4, the largest difference in grey levels"
    return line("launchers", what, 1, told, problems, started)

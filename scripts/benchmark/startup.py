"""Part f: how long a user waits for help, for a mistake to be told, and for the first sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

from aligndiff.core.errors import AlignDiffError, InputError
from scripts.benchmark.commands import log, run, script_words, start
from scripts.benchmark.config import BenchmarkConfig
from scripts.benchmark.lines import at_most, line
from scripts.benchmark.timing import alternate
from scripts.example import INVERSION, REFINEMENT, SYNTHESIS, copy_example
from scripts.reporting import Line

SCRIPTS = {1: INVERSION, 2: SYNTHESIS, 3: REFINEMENT}
MISTAKES = {
    "an unknown option": ("--overwrit",),
    "an unknown category": ("--categories", "unicorn"),
}
TARGET = at_most(1.0)  # s
POLL = 0.01  # seconds between two looks for the first sample
ONE_BATCH = 4


def measure(config: BenchmarkConfig, device: torch.device) -> Iterator[Line]:
    """Seconds until each script has answered, and until step 2 has made its first sample."""
    folder = copy_example(config.work_dir / "startup", texts_only=True)
    asked: dict[str, Callable[[], object]] = {}
    for number, module in SCRIPTS.items():
        asked[f"step {number}: --help"] = partial(run, config, [module, "--help"])
        for what, mistake in MISTAKES.items():
            words = [module, *script_words(config, folder, *mistake)]
            asked[f"step {number}: {what}"] = partial(run, config, words, InputError.exit_code)
    for what, seconds in alternate(asked, config.rounds).items():
        yield line("f", what, seconds, "s", target=TARGET)
    waits = [first_sample(config) for _ in range(config.script_rounds)]
    yield line("f", f"step 2: its first sample, in a batch of {ONE_BATCH}", waits, "s")


def first_sample(config: BenchmarkConfig) -> float:
    """Seconds from the command until the first record lies there; then waits for the end."""
    folder = copy_example(config.work_dir / "startup", texts_only=True)
    options = ("--image_per_class", 2 * ONE_BATCH, "--categories", "fish", "--no_sheet")
    started = time.perf_counter()
    process = start(config, [SYNTHESIS, *script_words(config, folder, *options)])
    waited = None
    while process.poll() is None:
        if waited is None and any(folder.glob("synthesized/*/samples/*.json")):
            waited = time.perf_counter() - started
        time.sleep(POLL)
    if waited is None or process.returncode:
        raise AlignDiffError(f"step 2 made no sample: {log(config)} says why")
    return waited

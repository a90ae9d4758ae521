"""The scripts as a user types them, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aligndiff.core.errors import AlignDiffError
from scripts.benchmark.config import BenchmarkConfig
from scripts.reporting import REPOSITORY, last_words


def script_words(config: BenchmarkConfig, dataset: Path, *options: object) -> list[str]:
    """The words after a script's name; one process, so that one device is measured."""
    common = ["--dataset_dir", str(dataset.resolve()), "--device", config.device, "--workers", "1"]
    return [*common, *map(str, options)]


def run(config: BenchmarkConfig, words: Sequence[str], expected: int = 0) -> float:
    """Seconds of `python -m <words>`; AlignDiffError when it ends with another code than expected.

    What it says goes to a log in the work folder.
    """
    started = time.perf_counter()
    process = start(config, words)
    code = process.wait()
    seconds = time.perf_counter() - started
    if code != expected:
        raise AlignDiffError(f"{words[0]} ended with exit code {code}: {last_words(log(config))}")
    return seconds


def start(config: BenchmarkConfig, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """The same, without waiting for it."""
    environment = dict(os.environ)
    if config.threads is not None:
        environment["OMP_NUM_THREADS"] = str(config.threads)
    log(config).parent.mkdir(parents=True, exist_ok=True)
    with log(config).open("a", encoding="utf-8") as file:
        file.write(f"$ python -m {' '.join(words)}\n")
        file.flush()
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=REPOSITORY,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def log(config: BenchmarkConfig) -> Path:
    """What the scripts said."""
    return config.work_dir / "scripts.log"

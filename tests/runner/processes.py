"""Processes that hold the lock of a dataset folder, for the tests of the lock and of the group."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start(root: Path, code: str, **variables: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.first_line = process.stdout.readline()  # type: ignore[attr-defined]
    return process


def end(*processes: subprocess.Popen[str]) -> list[int]:
    return [process.communicate()[0] and 0 or process.returncode for process in processes]

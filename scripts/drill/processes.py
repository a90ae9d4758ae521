"""The scripts as a user starts them: processes with real signals, watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from aligndiff.core.errors import AlignDiffError
from scripts.reporting import REPOSITORY

LONGEST = 300.0  # seconds; a command of a drill that takes longer hangs
MOST_REFUSALS = 10  # of a command, while the workers of a killed run end
POLL = 0.03  # seconds between two looks at a running command

_TORCHRUNS_ERROR = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError"
# Before the words of a command: two processes that share its work.
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code as a shell tells it, 128 + n after signal n."""

    code: int
    seconds: float
    said: str  # on stderr

    @property
    def errors(self) -> list[str]:
        return [line for line in self.said.splitlines() if line.startswith("error: ")]

    @property
    def was_refused(self) -> bool:
        """Whether another run was at work in the dataset."""
        return self.code == 2 and "another run works in this dataset folder" in self.said

    def problems(self, code: int = 0) -> list[str]:
        """What is wrong about it: another exit code than expected, or a traceback.

        Not that of torchrun, which tells so of a process that ended with another code than 0.
        """
        found = []
        if self.code != code:
            found.append(f"exit code {self.code} instead of {code}: {self.last_words}")
        if "Traceback" in self.said and _TORCHRUNS_ERROR not in self.said:
            found.append(f"a traceback: {self.last_words}")
        return found

    @property
    def last_words(self) -> str:
        lines = [line for line in self.said.splitlines() if line.strip()]
        return (self.errors or lines or ["it said nothing"])[-1]


class Command:
    """A running `python -m <words>`, in a process group of its own; none of it outlives the with.

    What it says goes to files, which a worker that outlives its parent cannot block. It gets the
    `variables` beside the usual ones of the environment.
    """

    def __init__(self, words: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
        usual = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        self.started = time.monotonic()
        self._stderr = tempfile.TemporaryFile("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=REPOSITORY,
            env={**os.environ, **usual, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            start_new_session=True,
        )

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self.is_running:
            self.signal_group(signal.SIGKILL)
            self.process.wait()
        self._stderr.close()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def age(self) -> float:
        return time.monotonic() - self.started

    def children(self) -> list[int]:
        """Process ids of its workers."""
        return children_of(self.process.pid)

    def signal_group(self, number: int) -> None:
        """As a Ctrl-C at the terminal, or a batch system that ends a job, does it."""
        os.killpg(self.process.pid, number)

    def wait(self) -> Ended:
        """Its end. AlignDiffError, after killing it, when it does not come."""
        try:
            code = self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.signal_group(signal.SIGKILL)
            raise AlignDiffError(
                f"{self.process.args!r} did not end in {LONGEST:g} s: {self._said()[-500:]}"
            ) from None
        return Ended(code if code >= 0 else 128 - code, self.age, self._said())

    def _said(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode("utf-8", "replace")


def run(words: Sequence[str]) -> Ended:
    """Run a command to its end."""
    with Command(words) as command:
        return command.wait()


def run_when_free(words: Sequence[str]) -> tuple[Ended, int]:
    """The same; while another run still ends in the dataset, again. Also how often that was."""
    refused = 0
    while (ended := run(words)).was_refused and refused < MOST_REFUSALS:
        refused += 1
    return ended, refused


def children_of(parent: int) -> list[int]:
    """Process ids of the living children of a process (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # After the name in brackets, which may hold anything: state, parent.
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(ppid) == parent and state != "Z":
            found.append(int(folder.name))
    return sorted(found)

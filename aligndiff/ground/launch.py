"""One process per device: start them, watch them, say which died; the others live on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from aligndiff.ground import console
from aligndiff.ground.share import RANK, WORLD_SIZE, Share, is_worker, launched_share

__all__ = ["Share", "is_worker", "launched_share", "run_workers", "visible_gpus"]

_POLL = 0.5  # seconds between two looks at the workers
_GRACE = 10.0  # seconds a worker gets to end by itself after Ctrl-C, then again after SIGTERM
_TAIL = 40  # lines of a failed worker's stderr that are passed through

_GPU_LINE = re.compile(r"^(?P<indent>\s*)(?:GPU|MIG)\b.*\(UUID:\s*(?P<uuid>[^)\s]+)\)")


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as entries for CUDA_VISIBLE_DEVICES (numbers or UUIDs).

    Does not import torch: asks CUDA_VISIBLE_DEVICES, else `nvidia-smi -L`. Empty when there is
    none. A GPU that is split (MIG) counts as its parts.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        entries = []
        for entry in (part.strip() for part in said.split(",")):
            if entry in ("", "-1", "NoDevFiles"):
                break  # CUDA ignores what follows an invalid entry
            entries.append(entry)
        return list(dict.fromkeys(entries))
    return _parse_gpu_list(_ask_nvidia_smi())


def run_workers(
    module: str,
    argv: Sequence[str],
    devices: Sequence[str | None],
    progress: Callable[[], int] | None = None,
    total: int = 0,
    description: str = "",
) -> int:
    """Run `python -m module argv` once per device and return how many of the workers failed.

    A device is an entry for CUDA_VISIBLE_DEVICES, or None to leave that variable alone (CPU). Each
    worker finds its share by `launched_share()`. When one dies it is reported on stderr and the
    others live on. `progress` counts what is done so far, out of `total`, for the one bar that the
    parent shows. Ctrl-C and SIGTERM are passed on, then raise KeyboardInterrupt.
    """
    with tempfile.TemporaryDirectory(prefix="aligndiff-") as folder, _stop_signals():
        workers: list[_Worker] = []
        try:
            for rank, device in enumerate(devices):
                workers.append(_start(module, argv, rank, len(devices), device, folder))
            failed = _watch(workers, progress, total, description)
        finally:
            # Nothing is left to stop unless an exception came through here.
            _stop(workers)
            for worker in workers:
                worker.stderr.close()
    return failed


@dataclass(frozen=True)
class _Worker:
    rank: int
    world_size: int
    device: str | None
    process: subprocess.Popen[bytes]
    stderr: IO[bytes]

    def complain(self) -> None:
        """Say how this worker ended, after passing its last words on."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode("utf-8", "replace").split("\n")
        words = [line.rstrip() for line in lines if line.strip()]
        for line in words[-_TAIL:]:
            console.warn(f"[worker {self.rank}] {line}")
        where = "" if self.device is None else f" on device {self.device}"
        last = f": {words[-1]}" if words else ""
        who = f"worker {self.rank} of {self.world_size}{where}"
        console.warn(f"error: {who} {_ending(self.process.returncode)}{last}")


def _ending(code: int) -> str:
    if code == 1:
        return "had samples that failed (exit code 1)"
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def _start(
    module: str, argv: Sequence[str], rank: int, world_size: int, device: str | None, folder: str
) -> _Worker:
    env = dict(os.environ, **{RANK: str(rank), WORLD_SIZE: str(world_size)})
    if device is None:
        # Each worker would start as many threads as there are cores, and they would fight.
        env.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // world_size)))
    else:
        env["CUDA_VISIBLE_DEVICES"] = device
    stderr = open(os.path.join(folder, f"worker_{rank}.txt"), "w+b")  # noqa: SIM115
    command = [sys.executable, "-m", module, *argv]
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=stderr)
    return _Worker(rank, world_size, device, process, stderr)


def _watch(
    workers: Sequence[_Worker], progress: Callable[[], int] | None, total: int, description: str
) -> int:
    """Wait for all workers, moving the bar on; return how many failed."""
    seen = progress() if progress else 0
    failed = 0
    living = list(workers)
    with console.progress(description, total, done=seen) as advance:
        while living:
            _wait_a_little(living)
            ended = [worker for worker in living if worker.process.poll() is not None]
            living = [worker for worker in living if worker not in ended]
            for worker in ended:
                if worker.process.returncode != 0:
                    failed += 1
                    worker.complain()
            if progress:
                now = progress()
                advance(now - seen)
                seen = now
    return failed


def _wait_a_little(workers: Sequence[_Worker]) -> None:
    """Sleep for one poll, or less when the first of the workers ends."""
    try:
        workers[0].process.wait(_POLL)
    except subprocess.TimeoutExpired:
        pass


def _stop(workers: Sequence[_Worker]) -> None:
    """End the workers that still run: ask, then insist, then kill."""
    # A Ctrl-C typed at the terminal reaches the workers by itself: a second one would only
    # disturb them while they end, so it is sent to those that did not hear the first.
    for number, grace in ((None, 0.5), (signal.SIGINT, _GRACE), (signal.SIGTERM, _GRACE)):
        for worker in workers:
            if number is not None and worker.process.poll() is None:
                worker.process.send_signal(number)
        if _all_ended(workers, grace):
            return
    for worker in workers:
        worker.process.kill()
        worker.process.wait()


def _all_ended(workers: Sequence[_Worker], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while any(worker.process.poll() is None for worker in workers):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Make SIGTERM stop the workers too, as Ctrl-C does; batch systems end jobs that way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ask_nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        answer = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def _parse_gpu_list(text: str) -> list[str]:
    """UUIDs from `nvidia-smi -L`; the parts of a split GPU are indented below it."""
    found: list[str] = []
    for line in text.splitlines():
        match = _GPU_LINE.match(line)
        if match is None:
            continue
        uuid = match["uuid"]
        # A split GPU cannot be used whole: its first part takes its place.
        if uuid.startswith("MIG-") and found and not found[-1].startswith("MIG-"):
            found.pop()
        found.append(uuid)
    return found


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

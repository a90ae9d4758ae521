"""Peak memory: of a device as torch counts it, of a CPU process as Linux does."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")  # "5" makes the peak what is in use now
KILOBYTE, MEGABYTE = 2.0**10, 2.0**20


@dataclass(frozen=True)
class Peak:
    """Bytes in use before a call, and the most in use during it."""

    before: int
    most: int

    @property
    def own(self) -> int:
        """What the call itself needed on top."""
        return self.most - self.before


def can_be_measured(device: torch.device) -> bool:
    """On CUDA always; on a CPU where the system tells a process its peak and lets it forget it."""
    if device.type != "cpu":
        return device.type == "cuda"
    try:
        start_over(device)
        return set(resident(STATUS.read_text())) == {"VmHWM", "VmRSS"}
    except (OSError, AttributeError, KeyError):  # no /proc, no malloc_trim, other names
        return False


def alternate_peaks(
    sides: Mapping[str, Callable[[], object]], repeats: int, device: torch.device
) -> dict[str, list[Peak]]:
    """The peak of each side in each of `repeats` rounds.

    A round without measuring comes first: what a first call loads for good is not its own.
    """
    for call in sides.values():
        call()
    peaks: dict[str, list[Peak]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, call in sides.items():
            peaks[name].append(peak_of(call, device))
    return peaks


def peak_of(call: Callable[[], object], device: torch.device) -> Peak:
    """The memory that `call` takes."""
    before = start_over(device)
    call()
    return Peak(before, most_so_far(device))


def start_over(device: torch.device) -> int:
    """Forget the peak; returns the bytes in use.

    Free memory goes back to the system first: a call would use what a process has in hand unseen.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)
    FORGET.write_text("5")
    return resident(STATUS.read_text())["VmRSS"]


def most_so_far(device: torch.device) -> int:
    """The most bytes in use since `start_over`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resident(STATUS.read_text())["VmHWM"]


def resident(status: str) -> dict[str, int]:
    """VmHWM (the peak) and VmRSS (now) in bytes, from the text of /proc/self/status."""
    found = re.findall(r"^(VmHWM|VmRSS):\s*(\d+) kB$", status, re.MULTILINE)
    return {name: 1024 * int(number) for name, number in found}

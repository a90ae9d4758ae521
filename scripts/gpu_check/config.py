"""What is checked on a card, and for how long: the options, read before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.options import Options, option

Check = Literal["steps", "families", "memory", "networks", "compile", "benchmark"]

CHECKS: dict[Check, str] = {
    "steps": "the three steps on the tiny models, by 1 and 2 processes, against the CPU's images",
    "families": "each family's tiny pipeline in 16 bits",
    "memory": "the batch that fits in the free memory, and batches that do not fit",
    "networks": "SD 1.5 and SDXL with random weights against the plain pipeline call",
    "compile": "a compiled network draws the same images, and how fast",
    "benchmark": "the parts of scripts.benchmark that a card decides",
}
MODULES: dict[Check, str] = {
    "steps": "three_steps",
    "families": "families",
    "memory": "memory",
    "networks": "networks",
    "compile": "compiling",
    "benchmark": "costs",
}
MOST_MINUTES = 10.0


@dataclass(frozen=True)
class GpuCheckConfig(Options):
    """The options of the check."""

    checks: tuple[Check, ...] = option(
        tuple(CHECKS), "; ".join(f"{name}: {what}" for name, what in CHECKS.items())
    )
    device: Literal["cuda", "cpu"] = option(
        "cuda", "cpu: the same program on small networks, to try it without a card"
    )
    minutes: float = option(
        MOST_MINUTES,
        "what does not fit in this time is left out",
        high=600,
        above=0,
        unit="minutes",
    )
    output_dir: Path = option(
        Path("runs/gpu_check"),
        "folder for gpu_check.md, gpu_check.json, log.txt and the work files",
    )

    @property
    def small(self) -> bool:
        """Small networks and few steps: a CPU shows that the program runs, not what a card does."""
        return self.device == "cpu"

    @property
    def work_dir(self) -> Path:
        """For datasets; removed at the end of a check in which all passed."""
        return self.output_dir / "gpu_check_work"

    @property
    def log(self) -> Path:
        """Tracebacks, and what the steps said."""
        return self.output_dir / "log.txt"

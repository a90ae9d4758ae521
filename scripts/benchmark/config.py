"""What a benchmark measures and how thoroughly: its options, read before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.options import Options, option

Part = Literal["a", "b", "c", "d", "e", "f", "g", "h", "i"]

PARTS: dict[Part, str] = {
    "a": "step 2: drawing with heatmaps against the plain pipeline call",
    "b": "step 2: from recorded maps to a heatmap",
    "c": "step 1: a micro-step against the networks' forward and backward",
    "d": "step 3: looks at an image against the backbone's forward",
    "e": "the three scripts, whole",
    "f": "start-up",
    "g": "growth with samples and with the batch",
    "h": "scenes a second on one core",
    "i": "step 3: edges and score of a mask",
}


@dataclass(frozen=True)
class BenchmarkSize:
    """How much of everything is measured."""

    repeats: int  # timed rounds of a comparison
    large_repeats: int  # the same where one round takes many seconds
    short_repeats: int  # the same where one takes milliseconds
    script_repeats: int  # runs of each whole script
    large_networks: bool  # besides the tiny ones
    images_per_class: int  # of the whole scripts
    inversion_steps: int  # of the whole scripts
    sizes: tuple[int, ...]  # numbers of samples, ascending
    batches: tuple[int, ...]  # batch sizes, ascending


USUAL = BenchmarkSize(5, 3, 100, 3, True, 24, 30, (1, 10, 100, 1000), (1, 4, 16))
QUICK = BenchmarkSize(2, 2, 20, 1, False, 2, 2, (1, 10, 100), (1, 4))


@dataclass(frozen=True)
class BenchmarkConfig(Options):
    """The options of the benchmark."""

    parts: tuple[Part, ...] = option(
        tuple(PARTS), "; ".join(f"{part} {what}" for part, what in PARTS.items())
    )
    quick: bool = option(
        False, "tiny networks only, few repeats, at most 100 samples", exclusive="effort"
    )
    full: bool = option(
        False, "Stable Diffusion 1.5 at its real width instead of half of it", exclusive="effort"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "where to compute; auto takes a GPU if there is one"
    )
    repeats: int | None = option(
        None, "timed rounds of every comparison", 1, shown_default="each part's own"
    )
    threads: int | None = option(
        None, "CPU threads of torch", 1, shown_default="torch's own choice"
    )
    output_dir: Path = option(
        Path("runs/benchmark"), "folder for benchmark.md, benchmark.json and the work files"
    )

    @property
    def effort(self) -> BenchmarkSize:
        """How much `--quick` or its absence asks for."""
        return QUICK if self.quick else USUAL

    @property
    def rounds(self) -> int:
        """Timed rounds of a comparison."""
        return self.repeats or self.effort.repeats

    @property
    def large_rounds(self) -> int:
        """The same of the largest networks."""
        return self.repeats or self.effort.large_repeats

    @property
    def short_rounds(self) -> int:
        """The same of what takes milliseconds."""
        return self.repeats or self.effort.short_repeats

    @property
    def script_rounds(self) -> int:
        """Runs of each whole script."""
        return self.repeats or self.effort.script_repeats

    @property
    def work_dir(self) -> Path:
        """For datasets and logs; removed at the end of a run that went well."""
        return self.output_dir / "benchmark_work"

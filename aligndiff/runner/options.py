"""The options that every step takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.device import PRECISION_HELP
from aligndiff.core.options import Options, option
from aligndiff.core.ranks import check_launcher, is_worker, launched_share

MAX_WORKERS = 64  # processes on one machine; none has more GPUs


@dataclass(frozen=True)
class RunOptions(Options):
    """Where the data are, and how to run."""

    dataset_dir: Path = option(help="folder that holds dataset.json")
    categories: tuple[str, ...] = option((), "work on these categories only (default: all of them)")
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "where to compute; auto takes a GPU if there is one"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = option("auto", PRECISION_HELP)
    workers: int = option(
        0, "processes to start; 0 is one per visible GPU, or just one", 0, MAX_WORKERS
    )
    launcher: Literal["auto", "ray"] = option(
        "auto",
        "auto: this command itself, or torchrun or srun where they start it; ray: an actor for "
        "each GPU of a Ray cluster",
    )
    ray_address: str | None = option(
        None, "host:port of the Ray cluster", shown_default="the one this machine is in"
    )
    retries: int = option(1, "restarts of a worker that died", 0, 100)
    overwrite: bool = option(False, "regenerate existing outputs instead of resuming")
    no_sheet: bool = option(False, "do not write the contact sheet at the end")

    def contradictions(self) -> list[str]:
        check_launcher()
        problems = []
        if self.ray_address is not None and self.launcher != "ray":
            problems.append("--ray_address needs --launcher ray; add that, or leave it out")
        if launched_share() is not None and not is_worker():
            started = "torchrun or srun has started the processes already; leave one of the two out"
            problems += [f"--launcher ray: {started}"] * (self.launcher == "ray")
            problems += [f"--workers {self.workers}: {started}"] * (self.workers > 0)
        if self.device == "cpu" and self.precision == "float16":
            problems.append(
                "--precision float16 needs a GPU and --device says cpu; use float32 or bfloat16"
            )
        return problems


@dataclass(frozen=True)
class CpuRunOptions(RunOptions):
    """The same for a step that computes no network."""

    device: Literal["cpu"] = option("cpu", "this step needs no GPU")
    precision: Literal["float32"] = option("float32", "and no network's number format")
    workers: int = option(0, "processes to start; 0 is just one", 0, MAX_WORKERS)

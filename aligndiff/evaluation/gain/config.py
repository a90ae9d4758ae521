"""The options of `evaluate gain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.device import PRECISION_HELP
from aligndiff.core.options import MAX_BATCH, MAX_SEED, Options, option
from aligndiff.dataset.records import MaskSource
from aligndiff.dataset.samples import EXCLUDE_HELP
from aligndiff.evaluation.gain.recipes import RECIPES
from aligndiff.runner.options import MAX_WORKERS

SIDE_STEP = 32  # px: what every network divides by
_MANY = 10_000


@dataclass(frozen=True)
class GainConfig(Options):
    """What is compared: everything here decides the figures."""

    dataset_dir: Path = option(
        help="dataset folder after step 3: its real pairs alone, and with its samples"
    )
    test_dir: Path | None = option(
        None,
        "folder of held-out pairs, <class>/1.jpg + 1.png",
        shown_default="leave-out over the real pairs",
    )
    val_dir: Path | None = option(
        None,
        "the same, to choose recipes by",
        shown_default="some of the real pairs, held out",
    )
    backgrounds: Path | None = option(
        None,
        "folder of photos without the objects, to paste pairs into",
        shown_default="what draw_backgrounds drew, or the photos of the other classes",
    )
    categories: tuple[str, ...] = option((), "these classes only (default: all of dataset.json)")
    sources: tuple[MaskSource, ...] = option(
        ("consensus", "pseudo_label"), "which samples, by their mask"
    )
    entry_types: tuple[Literal["text", "NM_embedding"], ...] = option(
        ("text", "NM_embedding"), "which samples, by their prompt's type"
    )
    exclude: Path | None = option(None, EXCLUDE_HELP)
    counts: tuple[int, ...] = option(
        (20, 50, 100, 200, 500), "numbers of samples of a class to plot, beside 0 and all", 1, _MANY
    )
    draws: int = option(3, "random choices of samples and of held-out pairs", 1, _MANY)
    seeds: int = option(1, "trainings of each choice", 1, _MANY)
    choosing_draws: int = option(2, "of the draws, how many recipes are chosen by", 1, _MANY)
    folds: int = option(5, "of a leave-out: parts that the real pairs are divided in", 2, _MANY)
    resamples: int = option(2000, "redrawn tests that the intervals come from", 100, 100_000)

    def contradictions(self) -> list[str]:
        if self.choosing_draws > self.draws:
            return [f"--choosing_draws {self.choosing_draws}: there are {self.draws} --draws"]
        return []


@dataclass(frozen=True)
class GainTraining(Options):
    """How every segmenter is trained: one budget for all."""

    model: str = option(
        "small",
        "'small', a U-Net from nothing; a .safetensors file, the same U-Net from weights of other "
        "classes ('tiny': of the tiny world); or SegFormer: a folder or a name of the hub, such as "
        "nvidia/mit-b0",
    )
    recipes: tuple[str, ...] = option(
        tuple(RECIPES), "the list that every arm picks its best from", choices=RECIPES
    )
    steps: int = option(600, "optimizer steps of a training", 1, 10**6)
    few_shot_steps: int = option(
        150, "those of the few-shot segmenter, which starts from weights", 1, 10**6
    )
    batch_size: int = option(16, "images of a step", 2, MAX_BATCH)
    lr: float | None = option(
        None,
        "highest learning rate",
        high=10,
        above=0,
        shown_default="0.003, from weights 0.001, SegFormer 0.0001",
    )
    side: int = option(
        128,
        "images are squeezed to a square of this side",
        SIDE_STEP,
        2048,
        multiple_of=SIDE_STEP,
        unit="px",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = option("auto", PRECISION_HELP)
    seed: int = option(0, "random seed of all of it", 0, MAX_SEED)

    def contradictions(self) -> list[str]:
        if self.precision == "float16":
            return ["--precision float16: trainings need bfloat16 or float32; choose one"]
        return []


@dataclass(frozen=True)
class GainRun(Options):
    """Where it is computed; changes no figure on the same kind of device."""

    output_dir: Path = option(Path("runs/gain"), "folder for records, figures, plot and sheets")
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "where to compute; auto takes a GPU if there is one"
    )
    workers: int = option(
        0, "processes to start; 0 is one per visible GPU, or per core of a CPU", 0, MAX_WORKERS
    )
    retries: int = option(1, "restarts of a worker that died", 0, 100)
    overwrite: bool = option(False, "train again what there are records of")
    no_sheet: bool = option(False, "do not write the sheet of training batches")

"""The options of the three evaluations, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.device import PRECISION_HELP
from aligndiff.core.options import MAX_BATCH, MAX_SEED, Options, option
from aligndiff.dataset.records import MaskSource
from aligndiff.dataset.samples import EXCLUDE_HELP
from aligndiff.evaluation.benchmarks.table import BENCHMARKS, MOST_FOLDS

MAX_REPEATS = 100_000  # episodes, shots, draws, resamples, samples of a count


@dataclass(frozen=True)
class OutputConfig(Options):
    """Where the figures go."""

    output_dir: Path = option(Path("runs/evaluate"), "folder for figures, plot and sheet")


@dataclass(frozen=True)
class MasksConfig(Options):
    """Masks against truth."""

    predicted: Path = option(help="dataset folder after step 3, or folder of PNG masks [/<class>]")
    truth: Path = option(
        help="folder of true PNG masks of the same names; 255 of a palette is ignored"
    )


@dataclass(frozen=True)
class EpisodesConfig(Options):
    """Episodes of a benchmark."""

    benchmark: str = option(
        help="PASCAL-5i, COCO-20i, FSS-1000, LVIS-92i or PASCAL-Part", choices=BENCHMARKS
    )
    data_dir: Path = option(
        help="folder that holds VOC2012, COCO2014, FSS-1000, LVIS or Pascal-Part (docs/EVALUATE.md)"
    )
    splits_dir: Path | None = option(
        None, "lists of test images, HSNet's data/splits", shown_default="data_dir/splits"
    )
    fold: int = option(
        0,
        "which part of the classes is tested: one of 4, of LVIS of 10; FSS has none",
        0,
        MOST_FOLDS - 1,
    )
    shot: int = option(1, "support images of an episode", 1, MAX_REPEATS)
    episodes: int = option(
        0,
        "how many; 0: as the protocol (docs/EVALUATE.md)",
        0,
        MAX_REPEATS,
    )
    side: int = option(
        400,
        "images and truth are squeezed to a square of this side, as HSNet does to 400; 0: seen "
        "and scored at their own size",
        0,
        8192,
        unit="px",
    )

    def contradictions(self) -> list[str]:
        return ["--side: must be 0, or 16 px or more"] if 0 < self.side < 16 else []


@dataclass(frozen=True)
class SupportGainConfig(Options):
    """Did synthetic support help?"""

    synthetic: Path = option(
        help="dataset folder after step 3: its real pairs, and these + its samples"
    )
    test_dir: Path = option(help="folder of held-out pairs, <class>/1.jpg + 1.png for each class")
    categories: tuple[str, ...] = option(
        (), "test these classes only (default: all of dataset.json)"
    )
    sources: tuple[MaskSource, ...] = option(
        ("consensus", "pseudo_label"), "which samples, by their mask"
    )
    entry_types: tuple[Literal["text", "NM_embedding"], ...] = option(
        ("text", "NM_embedding"), "which samples, by their prompt's type"
    )
    exclude: Path | None = option(None, EXCLUDE_HELP)
    support_weight: float = option(
        0.5,
        "weight of the real pairs in the support; the synthetic ones have the rest",
        above=0,
        below=1,
    )
    counts: tuple[int, ...] = option(
        (1, 2, 5, 10, 20, 50, 100),
        "numbers of samples of each class to plot, beside 0 and all",
        0,
        MAX_REPEATS,
    )
    draws: int = option(10, "random choices of each number of samples", 1, MAX_REPEATS)
    resamples: int = option(
        2000, "redrawn test sets that the intervals come from", 100, MAX_REPEATS
    )


@dataclass(frozen=True)
class SegmenterRun(Options):
    """How a segmenter runs, whatever it is evaluated on."""

    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "where to compute; auto takes a GPU if there is one"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = option("auto", PRECISION_HELP)
    batch_size: int = option(
        8, "images segmented at once; changes speed and memory only", 1, MAX_BATCH
    )
    seed: int = option(0, "random seed of episodes, draws and intervals", 0, MAX_SEED)
    no_sheet: bool = option(False, "do not write the sheet of masks")

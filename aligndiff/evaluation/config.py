"""The options of the three evaluations, and of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aligndiff.core.device import PRECISION_HELP
from aligndiff.core.errors import InputError
from aligndiff.core.options import MOST_IN_A_BATCH
from aligndiff.dataset.records import MaskSource
from aligndiff.dataset.samples import EXCLUDE_HELP
from aligndiff.evaluation.benchmarks import FOLDS, Benchmark

MOST_SIDE = 8192  # px
MOST_REPEATS = 100_000  # episodes, shots, draws, resamples, samples of a count


@dataclass(frozen=True)
class MasksConfig:
    """Masks against truth."""

    predicted: Path = field(
        metadata={"help": "dataset folder after step 3, or folder of PNG masks [/<class>]"}
    )
    truth: Path = field(
        metadata={"help": "folder of true PNG masks of the same names; 255 of a palette is ignored"}
    )


@dataclass(frozen=True)
class BenchmarkConfig:
    """Episodes of a benchmark."""

    benchmark: Benchmark = field(metadata={"help": "PASCAL-5i, COCO-20i or FSS-1000"})
    data_dir: Path = field(
        metadata={"help": "folder that holds VOC2012, COCO2014 or FSS-1000 (docs/EVALUATE.md)"}
    )
    splits_dir: Path | None = field(
        default=None,
        metadata={"help": "lists of test images, HSNet's data/splits (default: data_dir/splits)"},
    )
    fold: int = field(
        default=0, metadata={"help": "which quarter of the classes is tested, 0 to 3; none of FSS"}
    )
    shot: int = field(default=1, metadata={"help": "support images of an episode, from 1 up"})
    episodes: int = field(
        default=0,
        metadata={"help": "how many; 0: as the protocol, 1000, of FSS-1000 each test image once"},
    )
    image_side: int = field(
        default=400,
        metadata={
            "help": "px: images and truth are squeezed to a square of it, as HSNet does to 400; "
            "0: seen and scored at their own size"
        },
    )

    def __post_init__(self) -> None:
        problems = _out_of_range(
            ("fold", self.fold, 0, FOLDS - 1),
            ("shot", self.shot, 1, MOST_REPEATS),
            ("episodes", self.episodes, 0, MOST_REPEATS),
        )
        if self.image_side and not 16 <= self.image_side <= MOST_SIDE:
            problems.append(
                f"--image_side must be 0 or from 16 to {MOST_SIDE}, not {self.image_side}"
            )
        if problems:
            raise InputError(problems)


@dataclass(frozen=True)
class GainConfig:
    """Did synthetic support help?"""

    synthetic: Path = field(
        metadata={"help": "dataset folder after step 3: its real pairs, and these + its samples"}
    )
    test_dir: Path = field(
        metadata={"help": "folder of held-out pairs, <class>/1.jpg + 1.png for each class"}
    )
    categories: tuple[str, ...] = field(
        default=(), metadata={"help": "test these classes only (default: all of dataset.json)"}
    )
    sources: tuple[MaskSource, ...] = field(
        default=("consensus", "pseudo_label"), metadata={"help": "which samples, by their mask"}
    )
    entry_types: tuple[Literal["text", "NM_embedding"], ...] = field(
        default=("text", "NM_embedding"), metadata={"help": "which samples, by their prompt's type"}
    )
    exclude: Path | None = field(default=None, metadata={"help": EXCLUDE_HELP})
    support_weight: float = field(
        default=0.5,
        metadata={"help": "weight of the real pairs in the support, the synthetic have the rest"},
    )
    counts: tuple[int, ...] = field(
        default=(1, 2, 5, 10, 20, 50, 100),
        metadata={"help": "numbers of samples of each class to plot, beside 0 and all"},
    )
    draws: int = field(default=10, metadata={"help": "random choices of each number of samples"})
    resamples: int = field(
        default=2000, metadata={"help": "redrawn test sets that the intervals come from"}
    )

    def __post_init__(self) -> None:
        problems = _out_of_range(
            ("draws", self.draws, 1, MOST_REPEATS),
            ("resamples", self.resamples, 100, MOST_REPEATS),
            *(("counts", count, 0, MOST_REPEATS) for count in self.counts),
        )
        if not 0 < self.support_weight < 1:
            problems.append(f"--support_weight must be between 0 and 1, not {self.support_weight}")
        if problems:
            raise InputError(problems)


@dataclass(frozen=True)
class EvaluationRun:
    """How to run, whatever is evaluated."""

    fss_ckpt_path: str | None = field(
        default=None,
        metadata={"help": "'tiny', or an SSP checkpoint (default: the one of dataset.json)"},
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        default="auto", metadata={"help": "where to compute; auto takes a GPU if there is one"}
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = field(
        default="auto", metadata={"help": PRECISION_HELP}
    )
    batch_size: int = field(
        default=8, metadata={"help": "images segmented at once; changes speed and memory only"}
    )
    seed: int = field(default=0, metadata={"help": "of episodes, draws and intervals, from 0 up"})
    output_dir: Path = field(
        default=Path("runs/evaluate"), metadata={"help": "folder for figures, plot and sheet"}
    )
    no_sheet: bool = field(default=False, metadata={"help": "do not write the sheet of masks"})

    def __post_init__(self) -> None:
        problems = _out_of_range(
            ("batch_size", self.batch_size, 1, MOST_IN_A_BATCH), ("seed", self.seed, 0, 2**63 - 1)
        )
        if problems:
            raise InputError(problems)


def _out_of_range(*limits: tuple[str, int, int, int]) -> list[str]:
    """One line for each (option, value, least, most) whose value lies outside."""
    return [
        f"--{name} must be from {least} to {most}, not {value}"
        for name, value, least, most in limits
        if not least <= value <= most
    ]

"""The options of the training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.options import MOST_IN_A_BATCH
from aligndiff.dataset.samples import EXCLUDE_HELP
from aligndiff.training.pairs import Source


@dataclass(frozen=True)
class TrainingConfig:
    """How the segmenter is trained. Everything but `save_every` decides the result."""

    steps: int = field(default=2000, metadata={"help": "optimizer steps, 1 or more"})
    batch_size: int = field(
        default=4, metadata={"help": "episodes of a step, over all processes together"}
    )
    lr: float | None = field(
        default=None,
        metadata={
            "help": "learning rate at its highest, above 0 "
            "(default: 0.001 of SGD; from random weights 0.002 of AdamW)"
        },
    )
    shot: int = field(default=1, metadata={"help": "support pairs of an episode, 1 or more"})
    side: int | None = field(
        default=None,
        metadata={
            "help": "pixels of the square views, 32 to 2048; step 3 will resize images to it "
            "(default: what the start was trained at, else 473)"
        },
    )
    scale_jitter: float = field(
        default=1.25,
        metadata={"help": "views are scaled by a factor from 1/X to X, 1 to 4; 1: not at all"},
    )
    sources: tuple[Source, ...] = field(
        default=("real", "consensus", "pseudo_label"),
        metadata={"help": "which pairs to learn from: real ones, and synthetic ones by their mask"},
    )
    exclude: Path | None = field(default=None, metadata={"help": EXCLUDE_HELP})
    real_fraction: float = field(
        default=0.5,
        metadata={"help": "probability that a pair of an episode is a real one, 0 to 1"},
    )
    val_fraction: float = field(
        default=0.3,
        metadata={
            "help": "share of each class's real pairs held out to validate; 0: no validation"
        },
    )
    val_dir: Path | None = field(
        default=None,
        metadata={"help": "folder of <category>/1.jpg + 1.png to validate on; none is held out"},
    )
    val_episodes: int = field(default=50, metadata={"help": "episodes of one validation"})
    save_every: int = field(
        default=200, metadata={"help": "validate and save after so many steps, 1 or more"}
    )
    seed: int = field(default=0, metadata={"help": "seed of the episodes, 0 or more"})

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "steps": (1, 10**7),
            "batch_size": (1, MOST_IN_A_BATCH),
            "shot": (1, 100),
            "side": (32, 2048),
            "scale_jitter": (1, 4),
            "real_fraction": (0, 1),
            "val_fraction": (0, 0.9),
            "val_episodes": (1, 10**6),
            "save_every": (1, 10**7),
            "seed": (0, 2**63 - 1),
        }
        problems = [
            f"--{name}: must be {low} to {high}, is {value}"
            for name, (low, high) in limits.items()
            if (value := getattr(self, name)) is not None and not low <= value <= high
        ]
        if self.lr is not None and not 0 < self.lr <= 10:
            problems.append(f"--lr: must be above 0, at most 10, is {self.lr}")
        if problems:
            raise InputError(problems)

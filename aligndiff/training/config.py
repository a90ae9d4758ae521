"""The options of the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aligndiff.core.device import PRECISION_HELP
from aligndiff.core.options import MAX_BATCH, MAX_SEED, Options, option
from aligndiff.dataset.samples import EXCLUDE_HELP
from aligndiff.training.pairs import Source

RANDOM = "random"  # a start without weights


@dataclass(frozen=True)
class TrainOptions(Options):
    """Where things are, how to run, and what to start from."""

    dataset_dir: tuple[Path, ...] = option(
        help="one folder or more that hold dataset.json; every category is a class"
    )
    output_dir: Path = option(Path("runs/segmenter"), "where checkpoints and logs go")
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "where to compute; auto takes a GPU if there is one"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = option("auto", PRECISION_HELP)
    overwrite: bool = option(False, "train again from the start instead of resuming")
    start_from: str | None = option(
        None,
        "'tiny', an SSP checkpoint, a deep-stem ImageNet backbone, or 'random'",
        shown_default="fss_ckpt_path of dataset.json",
        group="start",
    )
    width: int | None = option(
        None, "of a random start: channels of the stem", 1, 256, shown_default="64", group="start"
    )
    blocks: tuple[int, ...] = option(
        (),
        "of a random start: blocks of the three layers",
        1,
        100,
        shown_default="3 4 6, a ResNet-50",
        group="start",
    )

    def contradictions(self) -> list[str]:
        problems = []
        if len(self.blocks) not in (0, 3):
            problems.append("--blocks: must be three numbers, as in 3 4 6")
        if (self.width or self.blocks) and self.start_from != RANDOM:
            problems.append(
                "--width and --blocks are of random weights; leave them out, or say "
                "--start_from random"
            )
        return problems

    @property
    def random_size(self) -> tuple[int, tuple[int, ...]]:
        """Width and blocks of a random start."""
        return self.width or 64, self.blocks or (3, 4, 6)


@dataclass(frozen=True)
class TrainingConfig(Options):
    """How the segmenter is trained. Everything but `save_every` decides the result."""

    steps: int = option(2000, "optimizer steps", 1, 10**7)
    batch_size: int = option(4, "episodes of a step, over all processes together", 1, MAX_BATCH)
    lr: float | None = option(
        None,
        "highest learning rate",
        high=10,
        above=0,
        shown_default="0.001 of SGD; from random weights 0.002 of AdamW",
    )
    shot: int = option(1, "support pairs of an episode", 1, 100)
    side: int | None = option(
        None,
        "side of the square views; step 3 will resize images to it",
        32,
        2048,
        unit="px",
        shown_default="what the start was trained at, else 473",
    )
    scale_jitter: float = option(
        1.25, "views are scaled by a factor from 1/X to X; 1: not at all", 1, 4
    )
    sources: tuple[Source, ...] = option(
        ("real", "consensus", "pseudo_label"),
        "which pairs to learn from: real ones, synthetic ones by their mask, and composed scenes",
    )
    exclude: Path | None = option(None, EXCLUDE_HELP)
    compose: bool = option(
        False,
        "queries by thirds: pairs as they are, pairs pasted into scenes, scenes without the object",
    )
    backgrounds: Path | None = option(
        None,
        "of --compose: folder of photos without the objects",
        shown_default="the real photos of the other classes",
    )
    real_fraction: float = option(0.5, "probability that a pair of an episode is a real one", 0, 1)
    val_fraction: float = option(
        0.3, "share of each class's real pairs held out to validate; 0: no validation", 0, 0.9
    )
    val_dir: Path | None = option(
        None, "folder of <category>/1.jpg + 1.png to validate on; none is held out"
    )
    val_episodes: int = option(50, "episodes of one validation", 1, 10**6)
    save_every: int = option(200, "steps between two validations and checkpoints", 1, 10**7)
    seed: int = option(0, "random seed of the episodes", 0, MAX_SEED)

    def contradictions(self) -> list[str]:
        if self.backgrounds is not None and not self.compose:
            return ["--backgrounds: is what --compose pastes into; add that, or leave it out"]
        return []

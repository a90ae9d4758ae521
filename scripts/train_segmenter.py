"""Train or fine-tune SSP, the segmenter of step 3, by episodes on real and synthetic pairs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.device import PRECISION_HELP, known_precision
from aligndiff.core.errors import InputError
from aligndiff.core.exits import exit_with, interrupt_later, overwriting
from aligndiff.core.files import check_writable, file_fingerprint
from aligndiff.core.options import OneLineParser, add_config_options, config_from_args
from aligndiff.core.ranks import check_launcher, launched_share
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.segmenters.load import resolve_checkpoint
from aligndiff.training.config import TrainingConfig
from aligndiff.training.log import trained_steps, validations
from aligndiff.training.plan import (
    BEST,
    LAST,
    SETTINGS,
    TrainingPlan,
    check_settings,
    plan_training,
    start_run,
)

if TYPE_CHECKING:
    from aligndiff.segmenters.ssp.backbone import InitialWeights

MODULE = "scripts.train_segmenter"
EPILOG = (
    "Running it again continues a run that was stopped. Several GPUs: accelerate launch, or "
    "torchrun, -m scripts.train_segmenter; docs/TRAIN.md says more."
)
RANDOM = "random"


@dataclass(frozen=True)
class TrainOptions:
    """Where things are, how to run, and what to start from."""

    dataset_dir: tuple[Path, ...] = field(
        metadata={"help": "one folder or more that hold dataset.json; every category is a class"}
    )
    output_dir: Path = field(
        default=Path("runs/segmenter"), metadata={"help": "where checkpoints and logs go"}
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = field(
        default="auto", metadata={"help": "where to compute; auto takes a GPU if there is one"}
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = field(
        default="auto", metadata={"help": PRECISION_HELP}
    )
    overwrite: bool = field(
        default=False, metadata={"help": "train again from the start; leave it out to continue"}
    )
    start_from: str | None = field(
        default=None,
        metadata={
            "group": "start",
            "help": "'tiny', an SSP checkpoint, a deep-stem ImageNet backbone, or 'random' "
            "(default: fss_ckpt_path of dataset.json)",
        },
    )
    width: int | None = field(
        default=None,
        metadata={
            "group": "start",
            "help": "of a random start: channels of the stem, 1 to 256 (default: 64)",
        },
    )
    blocks: tuple[int, ...] = field(
        default=(),
        metadata={
            "group": "start",
            "help": "of a random start: blocks of the three layers (default: 3 4 6, a ResNet-50)",
        },
    )

    def __post_init__(self) -> None:
        if self.width is not None and not 1 <= self.width <= 256:
            raise InputError(f"--width: must be 1 to 256, is {self.width}")
        if self.blocks and (len(self.blocks) != 3 or not all(0 < n <= 100 for n in self.blocks)):
            raise InputError("--blocks: must be three numbers from 1 to 100, as in 3 4 6")
        if (self.width or self.blocks) and self.start_from != RANDOM:
            raise InputError(
                "--width and --blocks are of random weights; leave them out, or say "
                "--start_from random"
            )

    @property
    def random_size(self) -> tuple[int, tuple[int, ...]]:
        """Width and blocks of a random start."""
        return self.width or 64, self.blocks or (3, 4, 6)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, validate, train what is missing, report; returns the exit code."""
    parser = OneLineParser(
        prog=f"python -m {MODULE}", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    add_config_options(parser, TrainOptions, "run")
    add_config_options(parser, TrainingConfig, "training")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    check_launcher()
    run, config = config_from_args(TrainOptions, args), config_from_args(TrainingConfig, args)

    quiet_libraries()
    banks = [load_prompt_bank(folder) for folder in run.dataset_dir]
    chosen = _choose_start(run, banks)
    plan = plan_training(
        banks,
        config,
        start_from=_identity(chosen, run),
        precision=known_precision(run.precision, run.device),
    )
    if not run.overwrite:
        check_settings(run.output_dir, plan.settings)
    check_writable([run.output_dir / SETTINGS])
    for one in plan.classes:
        say(f"{one.category}: {len(one.real)} real, {len(one.synthetic)} synthetic pairs")
    bare = [one.category for one in plan.classes if not one.synthetic]
    if bare and set(config.sources) != {"real"}:
        warn(f"note: no synthetic pairs of {', '.join(bare)}; run the three steps to have some")
    for note in plan.notes:
        warn(f"note: {note}")
    say(f"validation: {len(plan.validation_episodes)} episodes")

    if not run.overwrite and trained_steps(run.output_dir) >= config.steps:
        say(f"nothing to do: trained for {config.steps} steps")
    else:
        with overwriting(run.overwrite):
            _train(plan, config, chosen, run)
    _report(run.output_dir)
    return 0


def _choose_start(run: TrainOptions, banks: Sequence[PromptBank]) -> ModelChoice:
    if run.start_from == RANDOM:
        return ModelChoice(RANDOM, RANDOM, "command line")
    defaults = (bank.defaults.fss_ckpt_path for bank in banks)
    default = next((name for name in defaults if name is not None), None)
    chosen = resolve_checkpoint(run.start_from, default, "--start_from")
    if Path(chosen.location).resolve().parent == run.output_dir.resolve():
        raise InputError(
            f"--start_from {chosen.name}: lies in --output_dir, where it would be lost; give "
            "another --output_dir"
        )
    return chosen


def _identity(chosen: ModelChoice, run: TrainOptions) -> str:
    """What the settings say of the start."""
    if isinstance(chosen.location, Path):
        return f"{chosen.location.name} {file_fingerprint(chosen.location)}"
    width, blocks = run.random_size
    return f"{RANDOM}, width {width}, blocks {' '.join(map(str, blocks))}"


def _train(
    plan: TrainingPlan, config: TrainingConfig, chosen: ModelChoice, run: TrainOptions
) -> None:
    from aligndiff.core.device import choose_device, choose_dtype
    from aligndiff.training.train import train_on_pairs

    device = choose_device(run.device)
    dtype = choose_dtype(plan.settings["precision"], device)
    start = _load(chosen, run, config.seed)
    say(f"start: {start.description} ({chosen.source})")
    share = launched_share()
    if share is None or share.is_main:
        start_run(run.output_dir, plan.settings, run.overwrite)
    # Several processes are stopped by their launcher, each at a step of its own.
    ctrl_c = interrupt_later() if share is None else contextlib.nullcontext(lambda: False)
    done = trained_steps(run.output_dir)
    with ctrl_c as stop, progress("training", config.steps, done) as advance:
        train_on_pairs(start, plan, config, run.output_dir, device, dtype, advance, stop)


def _load(chosen: ModelChoice, run: TrainOptions, seed: int) -> InitialWeights:
    from aligndiff.segmenters.ssp.backbone import load_initial_weights, random_weights
    from aligndiff.segmenters.ssp.network import SSPConfig

    if isinstance(chosen.location, Path):
        return load_initial_weights(chosen.location)
    width, (one, two, three) = run.random_size
    return random_weights(SSPConfig(width, (one, two, three)), seed)


def _report(folder: Path) -> None:
    """Print the validations: before the first step, the best, the last."""
    found = validations(folder)
    if found:
        best = max(found, key=lambda one: one.miou)  # the first of equal ones
        shown = {"start": found[0], f"best (step {best.step})": best, "last": found[-1]}
        rows = [(name, *(one.ious[name] for one in shown.values())) for name in found[0].ious]
        table("validation IoU", ("class", *shown), rows)
        say("mIoU: " + ", ".join(f"{name} {one.miou:.3f}" for name, one in shown.items()))
        if best.step == 0:
            say("note: no checkpoint was better than the start; best.safetensors is the start")
    for name in (BEST, LAST) if found else (LAST,):
        say(f"checkpoint: {folder / name}")


if __name__ == "__main__":
    exit_with(main)

"""The command that trains the segmenter."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.device import known_precision
from aligndiff.core.errors import InputError
from aligndiff.core.exits import interrupt_later, overwriting
from aligndiff.core.files import check_writable, file_fingerprint
from aligndiff.core.options import parse
from aligndiff.core.ranks import check_launcher, launched_share
from aligndiff.core.weights import ModelChoice
from aligndiff.dataset.prompt_bank import PromptBank, load_prompt_bank
from aligndiff.segmenters.ssp.load import resolve_checkpoint
from aligndiff.training.config import RANDOM, TrainingConfig, TrainOptions
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

DESCRIPTION = (
    "Train or fine-tune SSP, the segmenter of step 3, by episodes on real and synthetic pairs."
)
EPILOG = (
    "Running it again resumes a run that was stopped. Several GPUs: accelerate launch, or "
    "torchrun, -m scripts.train_segmenter; docs/TRAIN.md says more."
)


def main(argv: Sequence[str], prog: str = "python -m scripts.train_segmenter") -> int:
    """Parse, validate, train what is missing, report; returns the exit code."""
    configs = {"run": TrainOptions, "training": TrainingConfig}
    line = parse(prog, DESCRIPTION, EPILOG, configs, argv)
    check_launcher()
    run, config = line.config(TrainOptions), line.config(TrainingConfig)
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
    _describe(plan, config)
    if not run.overwrite and trained_steps(run.output_dir) >= config.steps:
        say(f"nothing to do: trained for {config.steps} steps")
    else:
        with overwriting(run.overwrite):
            _train(plan, config, chosen, run)
    _report(run.output_dir)
    return 0


def _describe(plan: TrainingPlan, config: TrainingConfig) -> None:
    """Say which pairs there are to learn from and to validate on."""
    for pairs in plan.classes:
        say(f"{pairs.category}: {len(pairs.real)} real, {len(pairs.synthetic)} synthetic pairs")
    bare = [pairs.category for pairs in plan.classes if not pairs.synthetic]
    if bare and set(config.sources) != {"real"}:
        warn(f"note: no synthetic pairs of {', '.join(bare)}; run the three steps to have some")
    for note in plan.notes:
        warn(f"note: {note}")
    say(f"validation: {len(plan.validation_episodes)} episodes")


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
    width, (first, second, third) = run.random_size
    return random_weights(SSPConfig(width, (first, second, third)), seed)


def _report(folder: Path) -> None:
    """Print the validations: before the first step, the best, the last."""
    scores = validations(folder)
    if scores:
        best = max(scores, key=lambda score: score.miou)  # the first of equal ones
        shown = {"start": scores[0], f"best (step {best.step})": best, "last": scores[-1]}
        rows = [(name, *(score.ious[name] for score in shown.values())) for name in best.ious]
        table("validation IoU", ("class", *shown), rows)
        say("mIoU: " + ", ".join(f"{name} {score.miou:.3f}" for name, score in shown.items()))
        if best.step == 0:
            say("note: no checkpoint was better than the start; best.safetensors is the start")
    for name in (BEST, LAST) if scores else (LAST,):
        say(f"checkpoint: {folder / name}")

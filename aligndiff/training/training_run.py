"""One run of the trainer on the pairs of dataset folders: everything that its plan decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from aligndiff.core.console import Advance
from aligndiff.core.errors import AlignDiffError
from aligndiff.segmenters.ssp.backbone import Start
from aligndiff.training.episodes import PairEpisodes
from aligndiff.training.plan import TrainingConfig, TrainingPlan
from aligndiff.training.recipe import FINETUNE, SCRATCH
from aligndiff.training.train import Training, train
from aligndiff.training.validation import validate

USUAL_SIDE = 473  # px, of SSP's published training


def train_on_pairs(
    start: Start,
    plan: TrainingPlan,
    config: TrainingConfig,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    advance: Advance,
    stop: Callable[[], bool],
) -> None:
    """Train `start.network` on the pairs of `plan`, in `folder`, to the end or until `stop()`."""
    side = config.side or start.input_side or USUAL_SIDE
    recipe = SCRATCH if start.is_random else FINETUNE
    source = PairEpisodes(
        plan.classes, config.shot, side, config.real_fraction, config.scale_jitter, config.seed
    )
    run = Training(
        folder,
        replace(recipe, rate=config.lr or recipe.rate),
        config.steps,
        config.batch_size,
        config.save_every,
        side,
        device,
        dtype,
    )
    test = partial(validate, trials=plan.trials, input_side=side, device=device, dtype=dtype)
    try:
        train(start.network, source, run, test if plan.trials else None, advance, stop)
    except torch.OutOfMemoryError as error:
        raise AlignDiffError("out of memory: use a smaller --batch_size or --side") from error

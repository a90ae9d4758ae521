"""The last step of the method: train SSP by episodes, of whatever source they are.

A run in a folder can be stopped and goes on exactly where its last checkpoint was written: the
draws of an episode and the learning rate depend on the number of the step alone. Several processes
(torchrun, accelerate launch) share the episodes of a step; the first one validates and writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from aligndiff.core.console import Advance
from aligndiff.core.errors import AlignDiffError, InputError
from aligndiff.core.files import atomic_path
from aligndiff.core.prefetch import prefetch_map
from aligndiff.core.ranks import Share, launched_share, shard
from aligndiff.segmenters.metrics import Scores
from aligndiff.segmenters.ssp.backbone import InitialWeights
from aligndiff.segmenters.ssp.checkpoint import save_ssp
from aligndiff.segmenters.ssp.loss import episode_losses
from aligndiff.segmenters.ssp.network import SSP, image_tensor
from aligndiff.segmenters.ssp.segmenter import Prototypes, SSPSegmenter
from aligndiff.training.composing import QueryComposer
from aligndiff.training.config import TrainingConfig
from aligndiff.training.episodes import EpisodeSource, PairEpisodes, TrainingEpisode
from aligndiff.training.log import TrainingLog
from aligndiff.training.pairs import Pair, ValidationEpisode
from aligndiff.training.plan import BEST, CHECKPOINT, LAST, TrainingPlan
from aligndiff.training.recipe import FINETUNE, SCRATCH, Recipe, prepare_to_learn

FOREGROUND = 0.5  # a pixel is object above this probability
USUAL_SIDE = 473  # px, of SSP's published training

LOG_EVERY = 10  # steps; losses stay on the device in between
LOADERS = 4  # steps whose episodes are read ahead, each by a thread of its own
Validate = Callable[[SSP], Scores]


@dataclass(frozen=True)
class TrainingRun:
    """One run: `recipe.rate` is its rate, `batch_size` that of all processes together."""

    folder: Path
    recipe: Recipe
    steps: int
    batch_size: int
    save_every: int  # steps
    input_side: int  # px, what the checkpoints say they were trained at
    device: torch.device
    dtype: torch.dtype  # of the network's passes; its weights are float32


@dataclass
class TrainState:
    """All that a checkpoint holds: it goes on from here."""

    network: SSP
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # does something in float16 only
    step: int = 0
    best: float | None = None  # highest validation mIoU so far

    def load(self, folder: Path) -> None:
        """Go on from the checkpoint in `folder`, if there is one."""
        path = folder / CHECKPOINT
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.step, self.best = state["step"], state["best"]
        except Exception as error:  # a damaged archive fails in many ways
            raise InputError(
                f"{path}: no checkpoint of this training; remove it, or --overwrite"
            ) from error

    def save(self, folder: Path) -> None:
        """Write the checkpoint whole; last of the folder's files, it is what a run goes on from."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        with atomic_path(folder / CHECKPOINT) as beside:
            torch.save(state, beside)


def train(
    network: SSP,
    source: EpisodeSource,
    run: TrainingRun,
    validate: Validate | None,
    advance: Advance,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train `network` in place, to the end or until `stop()`, from the folder's checkpoint on.

    It validates before the first step, so that the best checkpoint may be the start itself.
    Raises AlignDiffError when the loss is not finite.
    """
    accelerator = Accelerator(cpu=run.device.type == "cpu", mixed_precision="no")
    share = _share_of(accelerator, run.batch_size)
    accelerator.wait_for_everyone()  # the first process has cleared the folder
    state = _new_state(network, run)
    model = accelerator.prepare_model(network, device_placement=False)
    slots = shard(range(run.batch_size), share.rank, share.world_size)

    def read(step: int) -> list[TrainingEpisode]:
        return [source.episode(step, slot) for slot in slots]

    losses: list[Tensor] = []  # since the last line of the log
    with TrainingLog(run.folder, state.step, share.is_main) as log:
        if state.step == 0 and share.is_main:
            _validate_and_save(state, run, validate, log)
        for episodes in prefetch_map(read, range(state.step, run.steps), LOADERS, LOADERS):
            losses.append(_learn(state, model, episodes, run))
            state.step += 1
            stopped, status = stop(), ""
            planned = state.step % run.save_every == 0 or state.step == run.steps
            if stopped or planned or state.step % LOG_EVERY == 0:
                loss = accelerator.reduce(torch.stack(losses).mean(), reduction="mean").item()
                losses.clear()
                _check_finite(loss, state.step)
                rate = state.optimizer.param_groups[0]["lr"]
                log.write(state.step, loss=loss, lr=rate)
                status = f"loss {loss:.4f}"
            if (stopped or planned) and share.is_main:
                _validate_and_save(state, run, validate if planned else None, log)
            advance(1, status=status)
            if stopped:
                break
    accelerator.wait_for_everyone()


def _new_state(network: SSP, run: TrainingRun) -> TrainState:
    """The network on its device with its optimizer, as the last checkpoint has them."""
    network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learning = prepare_to_learn(network, run.recipe)
    optimizer = run.recipe.optimizer(learning, lr=run.recipe.rate)
    half = run.dtype == torch.float16
    state = TrainState(network, optimizer, torch.amp.GradScaler(run.device.type, enabled=half))
    state.load(run.folder)
    return state


def _learn(
    state: TrainState, model: nn.Module, episodes: Sequence[TrainingEpisode], run: TrainingRun
) -> Tensor:
    """One optimizer step; `model` is the network, or what shares its gradients among processes."""
    recipe, optimizer, scaler = run.recipe, state.optimizer, state.scaler
    for group in optimizer.param_groups:
        group["lr"] = recipe.rate * recipe.schedule(state.step, run.steps)
    images = image_tensor(np.concatenate([episode.images for episode in episodes]), run.device)
    masks = torch.from_numpy(np.stack([episode.masks for episode in episodes])).to(run.device)
    reduced = run.dtype != torch.float32
    with torch.autocast(run.device.type, dtype=run.dtype if reduced else None, enabled=reduced):
        features = model(images.to(memory_format=torch.channels_last))
    by_episode = features.float().unflatten(0, masks.shape[:2])
    loss = episode_losses(by_episode, masks, recipe.loss).mean()
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    if recipe.clip_norm is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


def _validate_and_save(
    state: TrainState, run: TrainingRun, validate: Validate | None, log: TrainingLog
) -> None:
    """Validate, write the weights, the best of them too, and last the checkpoint."""
    if validate is not None:
        scores = validate(state.network)
        log.write_scores(state.step, scores)
        if state.best is None or scores.miou > state.best:
            state.best = scores.miou
            save_ssp(state.network, run.folder / BEST, run.input_side)
    save_ssp(state.network, run.folder / LAST, run.input_side)
    state.save(run.folder)
    log.write_saved(state.step)


def _share_of(accelerator: Accelerator, batch_size: int) -> Share:
    """This process's share of a step's episodes. Raises InputError where they cannot be shared."""
    share = Share(accelerator.process_index, accelerator.num_processes)
    launched = launched_share()
    if launched is not None and launched.world_size != share.world_size:
        raise InputError(
            f"{launched.world_size} processes were started that do not know of each other; start "
            "them with torchrun or accelerate launch"
        )
    if batch_size % share.world_size:
        raise InputError(
            f"--batch_size {batch_size}: must be a multiple of the number of processes, "
            f"{share.world_size}"
        )
    return share


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise AlignDiffError(
            f"the loss is not a number any more, by step {step}: try --precision float32, or a "
            "smaller --lr"
        )


def validate(
    network: SSP,
    validation_episodes: Sequence[ValidationEpisode],
    input_side: int | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Scores:
    """The scores of `network`, which is left as it is. An image is encoded once."""
    segmenter = SSPSegmenter(network, input_side, device, dtype)
    prototypes: dict[Pair, Prototypes] = {}
    scores = Scores()
    for query in dict.fromkeys(episode.query for episode in validation_episodes):
        image, truth = query.read()
        (encoded,) = segmenter.encode([image])
        for episode in validation_episodes:
            if episode.query != query:
                continue
            for pair in episode.support:
                if pair not in prototypes:
                    prototypes[pair] = _pool(segmenter, pair)
            segmenter.set_support([prototypes[pair] for pair in episode.support])
            predicted = segmenter.segment(encoded) > FOREGROUND
            scores.add(query.category, predicted, truth)
    return scores


def _pool(segmenter: SSPSegmenter, pair: Pair) -> Prototypes:
    image, mask = pair.read()
    (encoded,) = segmenter.encode([image])
    return segmenter.describe(encoded, mask)


def train_on_pairs(
    start: InitialWeights,
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
    composer = QueryComposer(plan.classes, plan.backgrounds, side) if config.compose else None
    jitter, real_fraction = config.scale_jitter, config.real_fraction
    source = PairEpisodes(
        plan.classes, config.shot, side, real_fraction, jitter, config.seed, composer
    )
    run = TrainingRun(
        folder,
        replace(recipe, rate=config.lr or recipe.rate),
        config.steps,
        config.batch_size,
        config.save_every,
        side,
        device,
        dtype,
    )
    test = partial(
        validate,
        validation_episodes=plan.validation_episodes,
        input_side=side,
        device=device,
        dtype=dtype,
    )
    try:
        train(start.network, source, run, test if plan.validation_episodes else None, advance, stop)
    except torch.OutOfMemoryError as error:
        raise AlignDiffError("out of memory: use a smaller --batch_size or --side") from error

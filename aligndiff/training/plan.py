"""What a training of the segmenter has to do: its options, its pairs, and whether it may go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aligndiff.annotations.backgrounds import BackgroundPhoto, find_backgrounds
from aligndiff.core.errors import InputError
from aligndiff.core.files import file_fingerprint, fingerprint, read_json, write_json
from aligndiff.dataset.prompt_bank import PromptBank
from aligndiff.dataset.records import describe_changes
from aligndiff.training.config import TrainingConfig
from aligndiff.training.pairs import (
    ClassPairs,
    ValidationEpisode,
    collect_pairs,
    fixed_episodes,
    hold_out,
    read_validation_folder,
)

# What lies in the output folder.
SETTINGS, CHECKPOINT, LOG, TENSORBOARD = (
    "training.json",
    "checkpoint.pt",
    "log.jsonl",
    "tensorboard",
)
LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class TrainingPlan:
    """The pairs to learn from, the episodes of every validation (none: no validation), settings.

    `settings` is all that decides the result, ready for JSON; `notes` are to be told.
    """

    classes: tuple[ClassPairs, ...]
    validation_episodes: tuple[ValidationEpisode, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    backgrounds: tuple[BackgroundPhoto, ...] = ()


def plan_training(
    banks: Sequence[PromptBank], config: TrainingConfig, **settings: object
) -> TrainingPlan:
    """Collect and split the pairs. `settings` are others that decide the result.

    Raises InputError when a class has too few pairs for an episode, or none to validate on.
    """
    classes, known = collect_pairs(banks, config.sources, config.exclude)
    notes = list[str]()
    if config.val_dir is not None:
        validation, known["val_dir"] = read_validation_folder(config.val_dir)
        notes = _validation_notes(classes, validation)
        held = {pairs.category: pairs.real for pairs in validation if len(pairs.real) > 1}
        support = held
    else:
        classes, held = hold_out(classes, config.val_fraction, config.seed)
        support = {pairs.category: pairs.real for pairs in classes}
    if not held and (config.val_dir or config.val_fraction):
        raise InputError(
            "no class has two real pairs, one to segment by and one to validate on; "
            "add pairs, or give --val_fraction 0"
        )
    if "real" not in config.sources:
        classes = [ClassPairs(pairs.category, (), pairs.synthetic) for pairs in classes]
    _check_enough(classes, config)
    validation_episodes = fixed_episodes(
        held, support, config.shot, config.val_episodes, config.seed
    )
    photos = find_backgrounds(config.backgrounds)
    if config.compose and not photos and len(classes) < 2:
        raise InputError(
            "--compose: there is one class and nothing to paste it into; give --backgrounds DIR"
        )
    left_out = {"save_every"} if config.compose else {"save_every", "compose", "backgrounds"}
    decisive = {name: value for name, value in asdict(config).items() if name not in left_out}
    if photos:
        known["backgrounds"] = fingerprint([file_fingerprint(photo.path) for photo in photos])
    # As JSON gives it back: with lists instead of tuples.
    plain = json.loads(json.dumps({**decisive, **known, **settings}, default=str))
    return TrainingPlan(tuple(classes), tuple(validation_episodes), plain, tuple(notes), photos)


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Raise InputError when `folder` holds a training with other settings, and say which."""
    path = folder / SETTINGS
    if not path.exists():
        left = [name for name in (CHECKPOINT, LAST, BEST) if (folder / name).exists()]
        if left:
            raise InputError(
                f"{folder}: has {left[0]}, but no {SETTINGS} to tell how it was trained; give "
                "another --output_dir, or --overwrite"
            )
        return
    earlier = read_json(path)
    if earlier != settings:
        changes = describe_changes(earlier, settings) if isinstance(earlier, dict) else "unreadable"
        raise InputError(
            f"{folder}: was trained with other settings ({changes}); give these again, another "
            "--output_dir, or --overwrite to train again"
        )


def start_run(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Write down the settings; with `overwrite` first remove what an earlier training left."""
    if overwrite:
        for name in (CHECKPOINT, LAST, BEST, LOG, SETTINGS):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SETTINGS, settings)


def _validation_notes(classes: Sequence[ClassPairs], validation: Sequence[ClassPairs]) -> list[str]:
    """What a validation folder has that makes its figures mean something else."""
    names = {pairs.category for pairs in classes}
    photos = {pair.photo for pairs in classes for pair in pairs.real}
    copies = [pair.name for pairs in validation for pair in pairs.real if pair.photo in photos]
    notes = [
        f"--val_dir: {pairs.category} is none of the classes to learn ({', '.join(sorted(names))})"
        for pairs in validation
        if pairs.category not in names
    ]
    if copies:
        notes.append(
            f"--val_dir: {len(copies)} of its photos are learned from too, such as {copies[0]}: "
            "the validation says too much; give it other photos"
        )
    return notes


def _check_enough(classes: Sequence[ClassPairs], config: TrainingConfig) -> None:
    problems = [
        f"{pairs.category}: {len(pairs.real)} real and {len(pairs.showing)} synthetic pairs to "
        f"learn from, an episode of --shot {config.shot} needs {config.shot + 1}; make more with "
        "steps 2 and 3, or hold out fewer (--val_fraction)"
        for pairs in classes
        if len(pairs.real) + len(pairs.showing) <= config.shot
    ]
    if problems:
        raise InputError(problems)
